"""Reads Parquet files batch by batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.data.readers.options import ReadOptions
from mlembed.data.records import BadRecord, Record, shortened
from mlembed.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 4096


def read_parquet(path: Path, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Read a Parquet file.

    Args:
        path: `.parquet`.
        options: does not matter here.

    Yields:
        A Record a row, with all columns as Python values; the line is the number of the row, from 1. A BadRecord
        for a row that holds bad UTF-8, or what Python has no value for.

    Raises:
        DataError: the file is damaged or not Parquet, or names a column twice.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(file.schema_arrow.names, path=path)
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                yield from _batch_records(batch, name=str(path), first_row=row + 1)
                row += batch.num_rows
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError, LookupError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}:{row + 1}: cannot be read as Parquet: {reason}; write the file again") from error


def _check_columns(names: list[str], *, path: Path) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(f"{path}:1: two columns have the name '{shortened(name)}'; rename one of them")


def _batch_records(batch: pa.RecordBatch, *, name: str, first_row: int) -> Iterator[Record | BadRecord]:
    header = batch.schema.names
    try:
        columns = [column.to_pylist() for column in batch.columns]
    except (ValueError, OverflowError, ArithmeticError, LookupError) as error:
        # Not UTF-8, a date after the year 9999, a time zone that nobody knows: one row may have what others do not.
        if batch.num_rows == 1:
            is_text = isinstance(error, UnicodeDecodeError)
            problem = "a text of this row is not UTF-8" if is_text else f"a value of this row cannot be read: {error}"
            yield BadRecord(name, first_row, problem)
            return
        for offset in range(batch.num_rows):
            yield from _batch_records(batch.slice(offset, 1), name=name, first_row=first_row + offset)
        return
    for row, cells in enumerate(zip(*columns, strict=True), first_row):
        yield Record(dict(zip(header, cells, strict=True)), name, row)
