"""Texts on disk that are read like a list of strings, without holding them in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa

# Texts of a record batch; all but the last have exactly so many, so that the place of a text is known.
BATCH_TEXTS = 2**14
SCHEMA = pa.schema({"text": pa.large_string()})


class TextWriter:
    """Writes texts into record batches of `BATCH_TEXTS`.

    Args:
        path: the Arrow IPC file.
    """

    def __init__(self, path: Path) -> None:
        self._writer = pa.ipc.new_file(str(path), SCHEMA)
        self._waiting: pa.Array = pa.array([], pa.large_string())
        self.count = 0

    def add(self, texts: pa.Array) -> None:
        """Append texts, of type large_string."""
        self.count += len(texts)
        waiting = pa.concat_arrays([self._waiting, texts]) if len(self._waiting) else texts
        start = 0
        while len(waiting) - start >= BATCH_TEXTS:
            self._write(waiting.slice(start, BATCH_TEXTS))
            start += BATCH_TEXTS
        # A copy: a slice would hold on to all of it.
        self._waiting = pa.concat_arrays([waiting.slice(start)])

    def _write(self, texts: pa.Array) -> None:
        self._writer.write_batch(pa.record_batch([texts], schema=SCHEMA))

    def close(self) -> None:
        """Write what is left."""
        if len(self._waiting):
            self._write(self._waiting)
        self._writer.close()


class DiskTexts(Sequence[str]):
    """The texts of one or several files of `TextWriter`, one after the other.

    An index gives a text; a slice or an array of indices gives a list of texts.

    Args:
        paths: the files; they are memory-mapped.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [pa.ipc.open_file(pa.memory_map(str(path))) for path in paths]
        counts = [_count(file) for file in self._files]
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice | np.ndarray) -> list[str]: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return self._at(np.arange(*at.indices(len(self))))
        if isinstance(at, np.ndarray):
            return self._at(at)
        number = int(at)
        if not -len(self) <= number < len(self):
            raise IndexError(f"text {at} of {len(self)}")
        return self._at(np.array([number % len(self)]))[0]

    def __iter__(self) -> Iterator[str]:
        for file in self._files:
            for number in range(file.num_record_batches):
                yield from file.get_batch(number).column(0).to_pylist()

    def _at(self, at_N: np.ndarray) -> list[str]:
        found: list[str] = [""] * len(at_N)
        file_N = np.searchsorted(self._starts, at_N, side="right") - 1
        within_N = at_N - self._starts[file_N]
        batch_N = within_N // BATCH_TEXTS
        order_N = np.lexsort((batch_N, file_N))
        keys_N = file_N[order_N] * 2**40 + batch_N[order_N]
        cuts = np.flatnonzero(np.diff(keys_N)) + 1
        for where in np.split(order_N, cuts) if len(order_N) else []:
            batch = self._files[file_N[where[0]]].get_batch(int(batch_N[where[0]])).column(0)
            texts = batch.take(pa.array(within_N[where] % BATCH_TEXTS)).to_pylist()
            for place, text in zip(where.tolist(), texts, strict=True):
                found[place] = text
        return found


def _count(file: Any) -> int:
    batches = file.num_record_batches
    return (batches - 1) * BATCH_TEXTS + file.get_batch(batches - 1).num_rows if batches else 0
