"""Reads files of every known format into records; a new format is one module here and one line of FORMATS."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlembed.data.readers.gettext import read_gettext
from mlembed.data.readers.hub import is_hub_name, read_hub_name
from mlembed.data.readers.intents import is_intents, read_intents
from mlembed.data.readers.jsonl import read_jsonl
from mlembed.data.readers.moses import is_moses_stem, read_moses
from mlembed.data.readers.options import ReadOptions
from mlembed.data.readers.parquet import read_parquet
from mlembed.data.readers.table import read_csv, read_tsv
from mlembed.data.readers.tmx import read_tmx
from mlembed.data.records import BadRecord, Record
from mlembed.errors import DataError
from mlembed.locate import locate

__all__ = ["FORMATS", "Format", "ReadOptions", "Source", "format_of", "open_source", "read"]


@dataclass(frozen=True, slots=True)
class Format:
    """A file format.

    Args:
        name: what messages call it.
        suffixes: endings of the file names that it takes, in lower case.
        read: its reader.
        is_bitext: its columns are always `source`, `target` and `lang`; otherwise they are the file's own.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Path, ReadOptions], Iterator[Record | BadRecord]]
    is_bitext: bool = False


GETTEXT = Format("gettext", (".po", ".mo"), read_gettext, is_bitext=True)
MOSES = Format("Moses", (), read_moses, is_bitext=True)
# Told by what stands in the file: other JSON has the same ending, and is of no known format.
INTENTS = Format("intents", (), read_intents)
FORMATS: tuple[Format, ...] = (
    Format("TSV", (".tsv", ".tsv.gz"), read_tsv),
    Format("CSV", (".csv", ".csv.gz"), read_csv),
    Format("JSONL", (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"), read_jsonl),
    Format("Parquet", (".parquet",), read_parquet),
    Format("TMX", (".tmx", ".tmx.gz"), read_tmx, is_bitext=True),
    GETTEXT,
    MOSES,
)


@dataclass(frozen=True, slots=True)
class Source:
    """What a name in the `data` section stands for.

    Args:
        format: what messages call its format.
        is_bitext: see `Format`.
        records: reads it from its start.
    """

    format: str
    is_bitext: bool
    records: Callable[[], Iterator[Record | BadRecord]]


def open_source(name: str, options: ReadOptions) -> Source:
    """Find what a name stands for: a file, a folder, a `package:` name, or a `hub:` name (`hub.read_hub_name`).

    Args:
        name: as the configuration has it.
        options: see ReadOptions.

    Raises:
        ConfigError: a `package:` or `hub:` name is malformed, or what it names is not found.
        DataError: as for `read`.
    """
    if is_hub_name(name):
        return Source("a data set of the hub", is_bitext=False, records=lambda: read_hub_name(name, options))
    path = locate(name)
    format = format_of(path, options)
    return Source(format.name, format.is_bitext, records=lambda: format.read(path, options))


def read(path: Path, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Read a file, a folder of gettext catalogues or of intents, or the stem of Moses files, as its name tells.

    Args:
        path: the file.
        options: see ReadOptions.

    Returns:
        An iterator over its records; what is wrong with a row is a BadRecord, and reading goes on.

    Raises:
        DataError: at once, where the file is missing, empty or of no known format; on iteration, where the reader
            cannot make sense of the file as a whole.
    """
    return format_of(path, options).read(path, options)


def format_of(path: Path, options: ReadOptions) -> Format:
    """Say which format a path has; raises as `read` does."""
    if is_intents(path):
        return INTENTS
    if path.is_dir():
        return GETTEXT
    if not path.exists():
        if is_moses_stem(path, source_language=options.source_language):
            return MOSES
        raise DataError(_missing(path, options))
    if not path.is_file():
        raise DataError(f"{path}: is not a plain file but a device or a pipe; write what it gives into a file first")
    for known in FORMATS:
        if path.name.lower().endswith(known.suffixes):
            if path.stat().st_size == 0:
                raise DataError(f"{path}:1: the file is empty")
            return known
    raise DataError(_unknown(path, options))


def _missing(path: Path, options: ReadOptions) -> str:
    if not path.parent.is_dir():
        return f"{path}: no such file; there is no folder {path.parent} either"
    near = difflib.get_close_matches(path.name, sorted(entry.name for entry in path.parent.iterdir()), n=1)
    hint = f"; did you mean {path.with_name(near[0])} ?" if near else ""
    return (
        f"{path}: no such file{hint} (For two aligned text files give what their names have in common:"
        f" PATH for PATH.{options.source_language} and PATH.de)"
    )


def _unknown(path: Path, options: ReadOptions) -> str:
    known = "; ".join(f"{format.name} {' '.join(format.suffixes)}" for format in FORMATS if format.suffixes)
    stem = path.with_suffix("")
    if is_moses_stem(stem, source_language=options.source_language):
        return f"{path}: to read aligned text files, give what their names have in common: {stem}"
    return (
        f"{path}: unknown format; known are {known}; a folder of gettext catalogues; and PATH for the aligned text"
        f" files PATH.{options.source_language} and PATH.<language>"
    )
