"""Writes the rows that nothing is wrong with, as a file that training reads."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from mlembed.staging import staged

# What would end a cell of a TSV, which knows no quoting.
CELL = str.maketrans("\t\r\n", "   ")

Values = Mapping[str, object]


def write_clean(path: Path, rows: Iterable[Values], *, columns: Sequence[str], ending: str) -> int:
    """Write rows; the file is whole, or it is not there.

    Args:
        path: the file.
        rows: column -> value; texts, or lists of them.
        columns: of a table, in order.
        ending: `.tsv` or `.jsonl`, and `.gz`.

    Returns:
        How many there were.

    Raises:
        ResourceError: it cannot be written.
    """
    count = 0
    with staged(path, option="--write-clean") as staging, _opened(staging, packed=ending.endswith(".gz")) as file:
        is_table = ending.startswith(".tsv")
        if is_table:
            file.write("\t".join(columns) + "\n")
        for values in rows:
            line = "\t".join(_cell(values[name]) for name in columns) if is_table else _json(values)
            file.write(line + "\n")
            count += 1
    return count


def _cell(value: object) -> str:
    if value is None:
        return ""
    parts = value if isinstance(value, list | tuple) else [value]
    return " ".join(str(part).translate(CELL) for part in parts)


def _json(values: Values) -> str:
    return json.dumps({name: value for name, value in values.items() if value is not None}, ensure_ascii=False)


@contextmanager
def _opened(path: Path, *, packed: bool) -> Iterator[TextIO]:
    # Without a name and a time inside, the same rows give the same bytes.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if packed else nullcontext(raw) as file:
        text = io.TextIOWrapper(cast(BinaryIO, file), encoding="utf-8", newline="\n")
        yield text
        text.flush()
        text.detach()
