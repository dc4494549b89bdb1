"""Reads files, compressed or not, as lines or chunks, and turns damage into BadRecords."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from mlembed.data.records import BadRecord
from mlembed.errors import DataError

MAX_LINE_BYTES = 16 * 2**20
# What is still longer is no file of texts, and may have no end (a device).
MAX_SKIPPED_BYTES = 4 * 2**30
CHUNK_BYTES = 2**16

# What gzip raises for a truncated, a corrupted, and a not compressed file.
_GZIP_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading; one that ends in `.gz` is decompressed.

    Raises:
        DataError: the file cannot be opened.
    """
    try:
        if path.suffix.lower() == ".gz":
            # GzipFile has a slow readline in Python; the buffer around it has a fast one in C.
            return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, gzip.open(path, "rb")), 2**18))
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror}") from error


def raw_lines(path: Path) -> Iterator[bytes | BadRecord]:
    r"""Yield each line with its line end (split on "\n" only), or a BadRecord in its place.

    A line that is longer than MAX_LINE_BYTES is a BadRecord, so memory is bounded; damaged gzip data is a last one.

    Raises:
        DataError: a line is longer than MAX_SKIPPED_BYTES.
    """
    number = 0
    with open_binary(path) as handle:
        try:
            while line := handle.readline(MAX_LINE_BYTES):
                number += 1
                if len(line) < MAX_LINE_BYTES or line.endswith(b"\n"):
                    yield line
                    continue
                skipped = len(line)
                while (rest := handle.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                    skipped += len(rest)
                    if skipped > MAX_SKIPPED_BYTES:
                        what = f"the line is longer than {MAX_SKIPPED_BYTES // 2**30} GiB"
                        raise DataError(f"{path}:{number}: {what}; this is no file of texts")
                yield BadRecord(str(path), number, f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB")
        except _GZIP_DAMAGE as error:
            yield _damaged(path, line=number + 1, error=error)


def text_lines(path: Path) -> Iterator[str | BadRecord]:
    r"""Yield each line without its line end ("\n" or "\r\n") and without a BOM, or a BadRecord in its place."""
    number = 0
    for raw in raw_lines(path):
        number += 1
        if isinstance(raw, BadRecord):
            yield raw
            continue
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            yield not_utf8(path, line=number, error=error)
            continue
        if number == 1:
            text = text.removeprefix("\ufeff")
        yield text.removesuffix("\n").removesuffix("\r")


def chunks(path: Path) -> Iterator[bytes | BadRecord]:
    """Yield the file in chunks of at most CHUNK_BYTES; damaged gzip data is a last BadRecord."""
    with open_binary(path) as handle:
        try:
            while chunk := handle.read(CHUNK_BYTES):
                yield chunk
        except _GZIP_DAMAGE as error:
            yield _damaged(path, line=None, error=error)


def not_utf8(path: Path, *, line: int, error: UnicodeDecodeError) -> BadRecord:
    """Explain where a line is not UTF-8."""
    data = bytes(error.object)
    if line == 1 and data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return BadRecord(str(path), line, "the file is UTF-32; save it as UTF-8")
    if line == 1 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return BadRecord(str(path), line, "the file is UTF-16; save it as UTF-8")
    byte = f"byte {error.start + 1} of the line is 0x{data[error.start]:02x}"
    return BadRecord(str(path), line, f"not UTF-8 ({byte}); convert the file to UTF-8")


def _damaged(path: Path, *, line: int | None, error: Exception) -> BadRecord:
    """Say what is wrong with gzip data; `line` None stands for a place that is not known."""
    if isinstance(error, gzip.BadGzipFile) and (line or 1) == 1:
        problem = "not a gzip file, or a damaged one, though its name ends in .gz"
    elif isinstance(error, EOFError):
        problem = "the gzip data ends too early: the file is truncated; copy or download it again"
    else:
        problem = "the gzip data is damaged; copy or download the file again"
    return BadRecord(str(path), line or 1, problem)
