"""The rows of parallel text that are looked at: read as training reads them, and kept on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlembed.check.findings import ShownRow
from mlembed.config_data import Data
from mlembed.data.order import order_key, shuffled
from mlembed.data.parallel import ReadCounts
from mlembed.data.records import Row
from mlembed.data.sample import even_quotas
from mlembed.data.spool import RowSpool, Spooled, read_tables, rows_at
from mlembed.errors import MlembedError
from mlembed.prepare import read_part


class SpooledRows:
    """The rows that training would use of its files, before duplicates and held-out rows are taken out.

    Args:
        spooled: the rows, on disk.
    """

    def __init__(self, spooled: Spooled) -> None:
        self.spooled = spooled
        self.languages: Sequence[str] = spooled.languages
        parts = [table["language"].to_numpy() for table in self._tables()]
        self.language_N: np.ndarray = np.concatenate([np.zeros(0, dtype=np.int16), *parts])

    def __len__(self) -> int:
        return self.spooled.count

    def _tables(self) -> Iterator[Any]:
        return read_tables(self.spooled.path) if self.spooled.count else iter(())

    def texts(self) -> Iterator[tuple[list[str], list[str]]]:
        """Sources and translations in their order, some at a time."""
        for table in self._tables():
            yield table["source"].to_pylist(), table["target"].to_pylist()

    def at(self, numbers: Sequence[int] | np.ndarray) -> list[Row]:
        """Some rows."""
        return rows_at(self.spooled, numbers)

    def without(self, is_marked_N: np.ndarray) -> Iterator[Row]:
        """The rows that have no mark, in their order."""
        start = 0
        for table in self._tables():
            for values in table.filter(pa.array(~is_marked_N[start : start + table.num_rows])).to_pylist():
                yield self.spooled.row(values)
            start += table.num_rows

    def shown(self, numbers: Sequence[int]) -> list[ShownRow]:
        """See `Rows`."""
        return [ShownRow(one.path, one.line, one.language, one.source, one.target) for one in self.at(numbers)]


@dataclass
class Read:
    """What was read of some files.

    Args:
        rows: what training would use.
        counts: what became of all entries.
        unreadable: name of a file -> why it cannot be read.
    """

    rows: SpooledRows
    counts: ReadCounts
    unreadable: dict[str, str] = field(default_factory=dict)


def read_rows(data: Data, names: Sequence[str] | None, *, path: Path) -> Read:
    """Read parallel text for training, and go on after whatever cannot be read.

    Args:
        data: the `data` section; its `on_error` does not matter.
        names: the files; None: those of data.train.
        path: where the rows go.
    """
    spool = RowSpool(path)
    unreadable: dict[str, str] = {}
    lenient = data.model_copy(update={"on_error": "skip"})
    try:
        counts = read_part(
            lenient,
            "train",
            names=names,
            sink=spool.add,
            on_unreadable=lambda name, error: unreadable.update({name: str(error)}),
        ).counts
    except MlembedError as error:
        # No row is left, or the hub has no such data.
        counts = ReadCounts()
        unreadable.setdefault(", ".join(names or getattr(data, "train", None) or ["the data"]), str(error))
    return Read(SpooledRows(spool.close()), counts, unreadable)


def sample_rows(language_N: np.ndarray, *, size: int, seed: int) -> np.ndarray:
    """Numbers of a seeded sample of rows, evenly over the languages; all rows where there are no more, ascending."""
    if len(language_N) <= size:
        return np.arange(len(language_N))
    counts_L = np.bincount(language_N)
    chosen = []
    for language, quota in enumerate(even_quotas(counts_L, total=size).tolist()):
        places = shuffled(np.arange(quota), int(counts_L[language]), key=order_key(seed, language))
        chosen.append(np.flatnonzero(language_N == language)[places])
    return np.sort(np.concatenate(chosen))
