"""What a reader yields: a record with its place in the file, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass

MAX_SHOWN = 1000


def shortened(message: str) -> str:
    """A message that quotes what a file holds, which may be of any length: cut in the middle where it is long."""
    half = MAX_SHOWN // 2
    return message if len(message) <= MAX_SHOWN else f"{message[:half]} ... {message[-half:]}"


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a file, with the names of its columns.

    Args:
        values: column name -> value, as the file has it (strings, or what JSONL and Parquet hold).
        path: the file, as messages should name it.
        line: line number from 1; where a format has no lines, the number of the entry.
    """

    values: dict[str, object]
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A row that cannot be read.

    Args:
        path: the file.
        line: line number from 1.
        problem: what is wrong, and what to do, in words for the user.
    """

    path: str
    line: int
    problem: str


@dataclass(frozen=True, slots=True)
class Row:
    """A sentence and its translation.

    Args:
        source: text in the source language.
        target: its translation.
        language: language code of the translation ("de", "zh_Hant").
        path: the file that it comes from.
        line: its line there, from 1.
    """

    source: str
    target: str
    language: str
    path: str
    line: int
