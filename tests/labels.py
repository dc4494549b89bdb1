"""What the tests of labelled data share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlembed.data.examples import Answer, Example
from mlembed.data.filters import REASONS
from mlembed.data.labelled import read_examples
from mlembed.data.parallel import ReadCounts
from mlembed.data.readers import ReadOptions
from mlembed.data.where import Where

READ: dict[str, Any] = {
    "columns": {},
    "options": ReadOptions(),
    "where": Where(),
    "on_error": "stop",
    "max_chars": None,
}


def example(
    text: str | tuple[str, ...],
    answer: Answer = "a",
    *,
    language: str = "en",
    second: str | None = None,
    id: str | None = None,
    line: int = 2,
) -> Example:
    """Make an example as if it had been read from toy.tsv."""
    return Example(text, second, answer, language, id, "toy.tsv", line)


def table(folder: Path, header: str, *rows: str, name: str = "toy.tsv") -> str:
    """Write a table; a comma stands for a tab."""
    path = folder / name
    path.write_text("".join(row.replace(",", "\t") + "\n" for row in (header, *rows)), encoding="utf-8")
    return str(path)


def lines(folder: Path, *rows: str, name: str = "toy.jsonl") -> str:
    """Write JSON Lines."""
    path = folder / name
    path.write_text("".join(row + "\n" for row in rows), encoding="utf-8")
    return str(path)


def found(*names: str, **given: Any) -> tuple[list[Example], ReadCounts]:
    """Read with settings that keep everything, but for those given; and see that nothing is missing from the counts."""
    examples, counts = read_examples(names, **{**READ, **given})
    assert counts.read == counts.bad + sum(counts.filtered.values()) + counts.kept
    assert counts.kept == len(examples) == sum(counts.kept_by_language.values())
    assert set(counts.filtered) <= set(REASONS)
    return examples, counts


def texts(examples: Sequence[Example]) -> list[object]:
    """The texts alone."""
    return [one.text for one in examples]
