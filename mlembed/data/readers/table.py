"""Reads TSV (no quoting at all) and CSV (quoting as the csv module has it), each with a header."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mlembed.data.readers.lines import MAX_LINE_BYTES, not_utf8, raw_lines, text_lines
from mlembed.data.readers.options import ReadOptions
from mlembed.data.records import BadRecord, Record, shortened
from mlembed.errors import DataError

MAX_COLUMNS = 4096
# What separates columns where it should not be: a file of another kind, or of a spreadsheet that writes semicolons.
SEPARATORS = (";", "\t", ",", "|")


def read_tsv(path: Path, options: ReadOptions) -> Iterator[Record | BadRecord]:
    r"""Read a TSV file: a row is a line (split on "\n" only, "\r" before it removed), quotes are text like any other.

    Args:
        path: `.tsv` or `.tsv.gz`, UTF-8 with or without BOM, the first line names the columns.
        options: `on_skip` hears of blank lines; the rest does not matter.

    Yields:
        A Record a line, with all columns as strings; a BadRecord for a line of bad UTF-8 or another number of columns.

    Raises:
        DataError: the file is empty or a column is named twice.
    """
    lines = enumerate(text_lines(path), 1)
    rows = ((line, text if isinstance(text, BadRecord) else text.split("\t")) for line, text in lines)
    return _records(rows, path=path, options=options, advice="a row is a line with tabs between columns, no quoting")


def read_csv(path: Path, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Read a CSV file: comma between columns, quotes around fields that hold commas, quotes or line ends.

    Args:
        path: `.csv` or `.csv.gz`, UTF-8 with or without BOM, the first row names the columns.
        options: `on_skip` hears of blank lines; the rest does not matter.

    Yields:
        A Record a row, with all columns as strings and the line that the row begins on; a BadRecord for a row of bad
        UTF-8, broken quoting or another number of columns.

    Raises:
        DataError: the file is empty, a column is named twice, or a row of several lines has no end.
    """
    return _records(_csv_rows(path), path=path, options=options, advice="quote a field that holds a comma")


def _records(
    rows: Iterator[tuple[int, list[str] | BadRecord]], *, path: Path, options: ReadOptions, advice: str
) -> Iterator[Record | BadRecord]:
    """Give the cells of each row the names that the first row holds."""
    name = str(path)
    header: list[str] = []
    for line, cells in rows:
        if isinstance(cells, BadRecord):
            yield cells
            if not header:  # without names of columns the rest of the file means nothing
                return
        elif not header:
            header = _checked_header(cells, path=path, line=line)
        elif len(cells) == len(header):
            yield Record(dict(zip(header, cells, strict=True)), name, line)
        elif cells in ([], [""]):
            options.on_skip("blank_line", 1)
        else:
            found = f"{len(cells)} column{'s' if len(cells) > 1 else ''} found"
            names = shortened(", ".join(header))
            yield BadRecord(name, line, f"{len(header)} columns expected ({names}), {found}; {advice}")
    if not header:
        raise DataError(f"{path}: the file is empty; it needs a first line that names the columns")


def _checked_header(cells: list[str], *, path: Path, line: int) -> list[str]:
    header = [cell.strip() for cell in cells]
    others = [sign for sign in SEPARATORS if sign in header[0]] if len(header) == 1 else []
    if others:
        raise DataError(
            f"{path}:{line}: the header is one column, {shortened(header[0])!r}: columns of CSV are separated by "
            f"commas, those of TSV by tabs, not by {others[0]!r}; write the file anew, or give it the right ending"
        )
    if len(header) > MAX_COLUMNS:
        raise DataError(f"{path}:{line}: the header names {len(header)} columns; {MAX_COLUMNS} at most are read")
    for name, count in Counter(header).items():
        if count > 1:
            raise DataError(f"{path}:{line}: the header names the column '{shortened(name)}' twice; rename one of them")
    return header


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str] | BadRecord]]:
    bad: list[BadRecord] = []
    # The first line of the row at hand, and the bytes of its lines.
    row = [1, 0]
    reader = csv.reader(_csv_lines(path, bad=bad, row=row), strict=True)
    while True:
        first_line = reader.line_num + 1
        row[:] = first_line, 0
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            problem = f"not CSV: {error}; look for a quote that is not closed or not doubled"
            bad = bad or [BadRecord(str(path), first_line, problem)]
        else:
            if not bad:
                yield first_line, cells
        while bad:
            yield first_line, bad.pop(0)
    while bad:
        yield reader.line_num + 1, bad.pop(0)


def _csv_lines(path: Path, *, bad: list[BadRecord], row: list[int]) -> Iterator[str]:
    """Yield lines for the csv reader, and put the bad ones into `bad`: a quoted field may go on after them."""
    for line, raw in enumerate(raw_lines(path), 1):
        row[1] += len(raw) if isinstance(raw, bytes) else 0
        if row[1] > MAX_LINE_BYTES:
            problem = f"the row is longer than {MAX_LINE_BYTES // 2**20} MiB; look for a quote that is not closed"
            raise DataError(f"{path}:{row[0]}: {problem}")
        if isinstance(raw, BadRecord):
            bad.append(raw)
            yield "\n"
            continue
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            bad.append(not_utf8(path, line=line, error=error))
            text = raw.decode(errors="replace")
        if line == 1:
            text = text.removeprefix("\ufeff")
        yield text[:-2] + "\n" if text.endswith("\r\n") else text
