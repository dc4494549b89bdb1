"""Writes what a model answered to each row as a stream, beside the row's own columns: JSONL or TSV."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from mlembed.errors import DataError
from mlembed.strict_json import without_nan

# What parts several labels in one cell; mlembed reads it again.
SEPARATOR = "|"


@dataclass(frozen=True, slots=True)
class Entity:
    """A name that was found in a text.

    Args:
        type: its kind.
        start: the place of its first character in the text, from 0.
        end: the place behind its last one.
        text: what stands there.
        score: the mean probability of its words' tags.
        first: the number of its first word, from 0; None where words were not given.
        last: the number of its last word.
    """

    type: str
    start: int
    end: int
    text: str
    score: float
    first: int | None = None
    last: int | None = None

    def fields(self) -> dict[str, object]:
        """For JSON; without what is None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model answered to one row.

    Args:
        answer: a label, labels, a score, or the entities of a text.
        probability: of each part of the answer; none for a score.
        probabilities: label -> probability, the highest first; None for scores and entities.
        values: the row's own columns.
        place: `file:line` of the row.
    """

    answer: str | float | tuple[str, ...] | tuple[Entity, ...]
    probability: tuple[float, ...]
    probabilities: Mapping[str, float] | None
    values: Mapping[str, object]
    place: str


Write = Callable[[Sequence[Prediction]], None]


@contextmanager
def predictions_writer(path: Path | None, *, ending: str) -> Iterator[Write]:
    """Open a file, or standard output, for predictions.

    Args:
        path: the file; None: standard output.
        ending: one of `WRITERS`, also with `.gz`.

    Yields:
        What writes some of them.
    """
    if path is None:
        yield WRITERS[ending](sys.stdout)
        return
    is_packed = ending.endswith(".gz")
    with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file) if is_packed else nullcontext(file) as raw:
        stream = io.TextIOWrapper(cast(BinaryIO, raw), encoding="utf-8", newline="\n")
        yield WRITERS[ending.removesuffix(".gz")](stream)
        stream.flush()
        # The text layer would close what is below it, which has a `with` of its own.
        stream.detach()


def jsonl_writer(stream: TextIO) -> Write:
    """Write one object a line: `prediction`, `probabilities` where there are some, and the row's columns."""

    def write(predictions: Sequence[Prediction]) -> None:
        for one in predictions:
            own: dict[str, object] = {"prediction": _json_answer(one.answer)}
            if one.probabilities is not None:
                own["probabilities"] = dict(one.probabilities)
            stream.write(_json(own | _renamed(one.values, taken=("prediction", "probabilities"))) + "\n")
        stream.flush()

    return write


def tsv_writer(stream: TextIO) -> Write:
    """Write a table: `prediction`, `probability` where there is one, and the columns of the first row."""
    header: list[str] = []

    def write(predictions: Sequence[Prediction]) -> None:
        for one in predictions:
            own: dict[str, object] = {"prediction": _cell_answer(one.answer)}
            if not isinstance(one.answer, float):
                parting = " " if one.answer and isinstance(one.answer[0], Entity) else SEPARATOR
                own["probability"] = parting.join(map(str, one.probability))
            cells = own | _renamed(one.values, taken=("prediction", "probability"))
            if not header:
                header.extend(cells)
                stream.write("\t".join(map(_cell, header)) + "\n")
            if more := cells.keys() - set(header):
                raise DataError(
                    f"{one.place}: the first row has no column {sorted(more)[0]!r}, so a table has no place for it; "
                    "write a .jsonl file"
                )
            stream.write("\t".join(_cell(cells.get(name)) for name in header) + "\n")
        stream.flush()

    return write


# Ending of the file -> writer; a new format is a function above and a line here.
WRITERS: dict[str, Callable[[TextIO], Write]] = {".jsonl": jsonl_writer, ".tsv": tsv_writer}


def _renamed(values: Mapping[str, object], *, taken: Sequence[str]) -> dict[str, object]:
    """The row's columns, with another name where one of ours is the same."""
    renamed: dict[str, object] = {}
    for name, value in values.items():
        new = name
        while new in taken or (new != name and new in values):
            new = f"input_{new}"
        renamed[new] = value
    return renamed


def _json_answer(answer: object) -> object:
    if isinstance(answer, tuple):
        return [one.fields() if isinstance(one, Entity) else one for one in answer]
    return answer


def _cell_answer(answer: str | float | tuple[str, ...] | tuple[Entity, ...]) -> str:
    if not isinstance(answer, tuple):
        return str(answer)
    if answer and isinstance(answer[0], Entity):
        return " ".join(f"{one.type}:{one.start}-{one.end}" for one in answer if isinstance(one, Entity))
    return SEPARATOR.join(str(one) for one in answer)


def _cell(value: object) -> str:
    """A cell of a TSV, which knows no quoting: what would end it is a space."""
    text = value if isinstance(value, str) else "" if value is None else _json(value)
    return text.replace("\t", " ").replace("\r\n", " ").replace("\n", " ").replace("\r", " ")


def _json(value: object) -> str:
    # Parquet has values that JSON has not: times, bytes, decimal numbers; and numbers that are none.
    try:
        return json.dumps(value, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(without_nan(value), ensure_ascii=False, default=str)
