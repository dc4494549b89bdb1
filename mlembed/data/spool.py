"""Rows on their way to a corpus, on disk: written as they are read, and distributed over files that fit into memory."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from mlembed.data.records import Row

log = logging.getLogger("mlembed")

# Rows of a record batch of a spool.
BATCH_ROWS = 2**14
# Rows that are held in memory at once, of whatever file: some 100 MB of ordinary sentences.
ROWS_IN_MEMORY = 2**18

# After so many rows the log says how far the reading is.
LOGGED_ROWS = 2**20

# `row` counts the rows in the order in which they were read; `hash` is of the source.
SCHEMA = pa.schema(
    {
        "source": pa.large_string(),
        "target": pa.large_string(),
        "language": pa.int16(),
        "file": pa.int32(),
        "line": pa.int64(),
        "row": pa.int64(),
        "hash": pa.int64(),
    }
)


@dataclass(frozen=True)
class Spooled:
    """Rows on disk.

    Args:
        path: an Arrow IPC file of `SCHEMA`.
        count: number of rows.
        languages: what the numbers of the column `language` stand for.
        files: what the numbers of the column `file` stand for.
    """

    path: Path
    count: int
    languages: Sequence[str]
    files: Sequence[str]

    def row(self, values: dict[str, object]) -> Row:
        """The row of one record of the file."""
        language, file, line = values["language"], values["file"], values["line"]
        assert isinstance(language, int) and isinstance(file, int) and isinstance(line, int)
        source, target = str(values["source"]), str(values["target"])
        return Row(source, target, self.languages[language], self.files[file], line)


class RowSpool:
    """Takes rows one by one and writes them to a file, in batches.

    Args:
        path: the file; it is written anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._languages: dict[str, int] = {}
        self._files: dict[str, int] = {}
        self._columns: tuple[list[str], list[str], list[int], list[int], list[int]] = ([], [], [], [], [])
        self._writer = pa.ipc.new_file(str(path), SCHEMA)

    def add(self, source: str, target: str, language: str, path: str, line: int) -> None:
        """Take one row."""
        sources, targets, languages, files, lines = self._columns
        sources.append(source)
        targets.append(target)
        languages.append(self._languages.setdefault(language, len(self._languages)))
        files.append(self._files.setdefault(path, len(self._files)))
        lines.append(line)
        if len(lines) == BATCH_ROWS:
            self._write()

    def _write(self) -> None:
        sources, targets, languages, files, lines = self._columns
        rows = np.arange(self.count, self.count + len(lines))
        # Python's own hash differs from process to process; the order of the corpus does not depend on it.
        hashes = np.fromiter(map(hash, sources), dtype=np.int64, count=len(sources))
        columns = (sources, targets, languages, files, lines, rows, hashes)
        arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))
        self.count += len(lines)
        for column in self._columns:
            column.clear()
        if self.count % LOGGED_ROWS == 0:
            log.info("%d rows read so far", self.count)

    def close(self) -> Spooled:
        """Write what is left."""
        if self._columns[0]:
            self._write()
        self._writer.close()
        return Spooled(self.path, self.count, list(self._languages), list(self._files))


def rows_at(spooled: Spooled, wanted: Sequence[int] | np.ndarray) -> list[Row]:
    """Some rows by their numbers, in that order."""
    wanted_N = np.asarray(wanted, dtype=np.int64)
    found: dict[int, Row] = {}
    with pa.memory_map(str(spooled.path)) as source:
        reader = pa.ipc.open_file(source)
        for number in np.unique(wanted_N // BATCH_ROWS).tolist():
            mine = wanted_N[wanted_N // BATCH_ROWS == number]
            rows = reader.get_batch(number).take(pa.array(mine % BATCH_ROWS)).to_pylist()
            found.update(zip(mine.tolist(), map(spooled.row, rows), strict=True))
    return [found[number] for number in wanted_N.tolist()]


def read_tables(path: Path) -> Iterator[pa.Table]:
    """The rows of an Arrow file in their order, in tables of at most about `ROWS_IN_MEMORY` rows."""
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        batches: list[pa.RecordBatch] = []
        rows = 0
        for at in range(reader.num_record_batches):
            batches.append(reader.get_batch(at))
            rows += batches[-1].num_rows
            if rows >= ROWS_IN_MEMORY:
                yield pa.Table.from_batches(batches)
                batches, rows = [], 0
        if batches:
            yield pa.Table.from_batches(batches)


def read_table(path: Path) -> pa.Table:
    """All rows of an Arrow file, each column in one piece; they are read when they are looked at."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all().combine_chunks()


def distribute(
    tables: Iterator[pa.Table], paths: Sequence[Path], *, schema: pa.Schema, where: Callable[[pa.Table], np.ndarray]
) -> list[Path]:
    """Write each row to one of several files; rows of one file keep their order.

    Args:
        tables: the rows.
        paths: the files.
        schema: of the rows.
        where: for each row of a table the number of its file.

    Returns:
        The files that have rows.
    """
    used = np.zeros(len(paths), dtype=bool)
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_file(str(path), schema)) for path in paths]
        for table in tables:
            files_N = where(table)
            order_N = np.argsort(files_N, kind="stable")
            ordered = table.combine_chunks().take(pa.array(order_N))
            ends = np.searchsorted(files_N[order_N], np.arange(len(paths)), side="right")
            for writer, start, end in zip(writers, [0, *ends[:-1]], ends, strict=True):
                if end > start:
                    writer.write_table(ordered.slice(start, end - start))
            used[files_N] = True
    return [path for path, is_used in zip(paths, used, strict=True) if is_used]
