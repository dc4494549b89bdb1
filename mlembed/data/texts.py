"""Reads texts one after another: the lines of a file or of standard input, or one column of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mlembed.data.readers import FORMATS, ReadOptions, format_of
from mlembed.data.readers.jsonl import read_jsonl
from mlembed.data.readers.lines import text_lines
from mlembed.data.records import BadRecord, Record, shortened
from mlembed.errors import ConfigError, DataError

STDIN = Path("/dev/stdin")
DEFAULT_COLUMN = "text"


def read_texts(name: str, *, column: str | None, on_skip: Callable[[str, int], None]) -> Iterator[str]:
    """Read texts, as a stream, in their order.

    Args:
        name: a file, `.gz` too; or `-` for standard input. The formats of `readers.FORMATS` have columns, told by the
            name's ending; of any other file, and of standard input, each line is a text, a blank one too.
        column: of a format with columns; None: `text`. With it, standard input is read as JSONL.
        on_skip: called with a reason and a number of lines that hold no row (a blank line between rows).

    Returns:
        The texts.

    Raises:
        ConfigError: a column is asked for of a file without columns.
        DataError: at once, where there is no such file; on iteration, with `file:line`, what cannot be read.
    """
    records = read_records(name, column=column, on_skip=on_skip)
    return _cells(records, column=column or DEFAULT_COLUMN)


def read_records(name: str, *, column: str | None, on_skip: Callable[[str, int], None]) -> Iterator[Record | BadRecord]:
    """Read whole rows, as `read_texts` does; a line of a file without columns is a row with the column `text`.

    Args:
        name: see `read_texts`.
        column: see `read_texts`; nothing is checked of it in files with columns.
        on_skip: see `read_texts`.

    Returns:
        The rows, and in their place what cannot be read.

    Raises:
        ConfigError: a column is asked for of a file without columns.
        DataError: at once, where there is no such file; on iteration, where the reader makes no sense of it at all.
    """
    options = ReadOptions(on_skip=on_skip)
    if name == "-":
        return read_jsonl(STDIN, options) if column else _lines(STDIN)
    path = Path(name)
    if path.is_dir() or not path.exists():
        raise DataError(f"{path}: {'this is a folder; give a file' if path.is_dir() else 'no such file'}")
    if any(path.name.lower().endswith(format.suffixes) for format in FORMATS if format.suffixes):
        return format_of(path, options).read(path, options)
    if column is not None:
        known = " ".join(suffix for format in FORMATS for suffix in format.suffixes)
        raise ConfigError(f"--column {column}: {path} has lines, not columns; files with columns end in {known}")
    return _lines(path)


def _lines(path: Path) -> Iterator[Record | BadRecord]:
    for number, line in enumerate(text_lines(path), 1):
        yield line if isinstance(line, BadRecord) else Record({DEFAULT_COLUMN: line}, str(path), number)


def _cells(records: Iterable[Record | BadRecord], *, column: str) -> Iterator[str]:
    for record in records:
        problem = record.problem if isinstance(record, BadRecord) else _problem(record, column)
        if problem is not None:
            raise DataError(f"{record.path}:{record.line}: {shortened(problem)}")
        assert isinstance(record, Record)
        yield str(record.values[column])


def _problem(record: Record, column: str) -> str | None:
    if column not in record.values:
        return f"no column {column!r}; the columns here are: {', '.join(record.values)}; name one with --column"
    value = record.values[column]
    if not isinstance(value, str):
        return f"the column {column!r} holds {value!r} ({type(value).__name__}) where a text is expected"
    return None
