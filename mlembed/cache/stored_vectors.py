"""Vectors that lie in shards, as an array whose rows are read when they are asked for."""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlembed.cache.cache_folder import shown
from mlembed.cache.shard import DamagedShard, Shard
from mlembed.errors import ResourceError

# Each open shard costs a file descriptor, of which a process has 1024.
OPEN_SHARDS = 256
# Smaller index arrays are kept in memory: 16 MB.
MEMORY_INDICES = 1 << 21


class StoredVectors:
    """An array `[N, D]` float16, in any order, with repetitions.

    Args:
        shards: what the rows are numbered through.
        row_N: for each vector its row, through all shards.
        width: D.
    """

    def __init__(self, shards: Sequence[Shard], row_N: np.ndarray, *, width: int) -> None:
        self._row_N, self._width = row_N, width
        self._starts = np.cumsum([0, *(shard.count for shard in shards)])
        self._open = functools.lru_cache(OPEN_SHARDS)(functools.partial(_vectors, tuple(shards)))

    def __len__(self) -> int:
        return len(self._row_N)

    @property
    def shape(self) -> tuple[int, int]:
        """`(N, D)`."""
        return len(self._row_N), self._width

    def __getitem__(self, wanted: Any) -> np.ndarray:
        """The vectors of indices, of a slice, or of one index: a copy, float16.

        Raises:
            ResourceError: the store was deleted meanwhile.
        """
        wanted_rows = np.asarray(self._row_N[wanted])
        row_M = wanted_rows.ravel()
        vectors_MD = np.empty((len(row_M), self._width), dtype=np.float16)
        shard_M = np.searchsorted(self._starts, row_M, side="right") - 1
        order_M = np.argsort(shard_M, kind="stable")
        bounds = np.flatnonzero(np.diff(shard_M[order_M], prepend=-1, append=-1))
        for begin, end in itertools.pairwise(bounds):
            at = order_M[begin:end]
            number = int(shard_M[at[0]])
            vectors_MD[at] = self._open(number)[row_M[at] - self._starts[number]]
        return vectors_MD.reshape(*wanted_rows.shape, self._width)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it in memory."""
        return self[:] if dtype is None else self[:].astype(dtype)


def _vectors(shards: Sequence[Shard], number: int) -> np.ndarray:
    shard = shards[number]
    try:
        return shard.vectors()
    except (DamagedShard, OSError, ValueError) as error:
        assert shard.path is not None
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise ResourceError(
            f"{shown(shard.path)} cannot be read any more: {reason}. Somebody has changed the cache folder; do it again"
        ) from error


def index_array(count: int, *, folder: Path | None) -> np.ndarray:
    """An array of int64 for N numbers; a large one is on the disk, in a file that ends with the process.

    Args:
        count: N.
        folder: where the file may be made; None: nowhere.
    """
    if folder is None or count < MEMORY_INDICES:
        return np.empty(count, dtype=np.int64)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # All of it, now: a disk that is full when a page is written ends the process.
            os.posix_fallocate(file.fileno(), 0, 8 * count)
            return np.memmap(file, dtype=np.int64, mode="r+", shape=(count,))
    except OSError:
        return np.empty(count, dtype=np.int64)
