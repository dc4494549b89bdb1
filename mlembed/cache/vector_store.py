"""The store of one teacher's vectors: shards in a folder, written by one process at a time."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlembed.cache.cache_folder import EntryInUse, shown
from mlembed.cache.locks import FileLock
from mlembed.cache.request import Request
from mlembed.cache.shard import STAGING, SUFFIX, DamagedShard, Shard, open_shard, write_shard
from mlembed.cache.stored_vectors import StoredVectors

log = logging.getLogger("mlembed")

TEACHERS = "teachers"
WRITE_LOCK = "write.lock"


class VectorStore:
    """The vectors of texts by one teacher, `[D]` float16 each.

    Where the folder cannot be used or written, vectors are kept in memory: slower next time, but the run goes on.

    Args:
        key: 16 to 64 hexadecimal digits, by all that decides the vectors.
        about: what about.json is to say.
        width: D.
        in_memory: leave the disk alone.

    Attributes:
        shards: what rows are numbered through; they are added to, and never taken out.
        encoded: number of texts whose vectors were added.
    """

    def __init__(self, key: str, *, about: Mapping[str, Any], width: int, in_memory: bool = False) -> None:
        self.width = width
        self.shards: list[Shard] = []
        self.encoded = 0
        self._own: set[Path | None] = {None}
        self._damaged: set[Path] = set()
        self._unreadable: set[Path] = set()
        self._told_unwritable = False
        self._entry: EntryInUse | None = None
        self._lock: FileLock | None = None
        if not in_memory:
            try:
                self._entry = EntryInUse(TEACHERS, key, about=about)
                self._lock = FileLock(self._entry.path / WRITE_LOCK)
            except OSError as error:
                self._tell_unwritable(error)

    @property
    def folder(self) -> Path | None:
        """Where it lies; None: in memory."""
        return self._entry.path if self._entry else None

    @property
    def found(self) -> int:
        """Number of distinct texts that were asked for, and that others had added."""
        return sum(int(shard.used_N.sum()) for shard in self.shards if shard.used_N is not None and not shard.is_bad)

    def close(self) -> None:
        """From now on others may delete it."""
        self.unlock()
        if self._entry is not None:
            self._entry.close()

    def look_up(self, request: Request) -> int:
        """Fill in where the texts' vectors are, and return how many have none; shards that are needed are verified."""
        self._find_shards()
        request.row_K[:] = -1
        start = 0
        for shard in self.shards:
            if not shard.is_bad:
                try:
                    distinct, positions = request.match(shard.keys())
                    if len(distinct):
                        shard.verify()
                        request.row_K[distinct] = start + positions
                        self._remember_use(shard, positions)
                except (DamagedShard, OSError) as error:
                    shard.is_bad = True
                    self._tell_bad(shard.path, error)
            start += shard.count
        return int((request.row_K < 0).sum())

    def try_lock(self) -> bool:
        """Become the one process that writes; True also where nobody can. Does not wait."""
        if self._lock is None:
            return True
        try:
            return self._lock.try_alone()
        except OSError as error:
            self._tell_unwritable(error)
            self._lock = None
            return True

    def holder(self) -> str:
        """Who writes now, in words."""
        return self._lock.holder() if self._lock else "nobody"

    def unlock(self) -> None:
        """Let others write."""
        if self._lock is not None:
            self._lock.release()

    def delete_damaged(self) -> None:
        """Delete what is no shard, and what a writer that was killed has left; only under the lock."""
        if self.folder is None:
            return
        for path in self._damaged:
            try:
                # Another process may have put a good one in its place.
                open_shard(path, width=self.width).verify()
            except DamagedShard:
                _delete(path)
            except OSError:
                pass
        _delete(self.folder / STAGING)
        self._damaged.clear()

    def add(self, request: Request, distinct: np.ndarray, vectors_ND: np.ndarray) -> bool:
        """Keep the vectors of some texts, in a shard of their own; only under the lock.

        Args:
            request: what they were asked for in; it then knows where they are.
            distinct: their numbers in the request.
            vectors_ND: float16.

        Returns:
            Whether they are on the disk.
        """
        keys_N2 = request.keys(distinct)
        start = sum(shard.count for shard in self.shards)
        shard: Shard | None = None
        if self.folder is not None and self._lock is not None:
            try:
                shard = write_shard(self.folder, keys_N2, vectors_ND)
            except OSError as error:
                self._tell_unwritable(error)
        self.shards.append(shard or in_memory_shard(keys_N2, vectors_ND))
        self._own.add(self.shards[-1].path)
        self.encoded += len(distinct)
        request.row_K[distinct] = start + np.arange(len(distinct))
        return shard is not None

    def vectors(self, row_N: np.ndarray) -> StoredVectors:
        """The vectors in some rows, through all shards."""
        return StoredVectors(self.shards, row_N, width=self.width)

    def in_memory_shards(self) -> list[Shard]:
        """Those without a file, in their order."""
        return [shard for shard in self.shards if shard.path is None]

    def _remember_use(self, shard: Shard, positions: np.ndarray) -> None:
        if shard.path not in self._own:
            if shard.used_N is None:
                shard.used_N = np.zeros(shard.count, dtype=bool)
            shard.used_N[positions] = True

    def _find_shards(self) -> None:
        """Take in the files that have come since the last look; rows that were given out stay what they are."""
        if self.folder is None:
            return
        known = {shard.path for shard in self.shards if not shard.is_bad} | self._damaged | self._unreadable
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path not in known:
                try:
                    self.shards.append(open_shard(path, width=self.width))
                except (DamagedShard, OSError) as error:
                    self._tell_bad(path, error)

    def _tell_bad(self, path: Path | None, error: DamagedShard | OSError) -> None:
        assert path is not None
        if isinstance(error, DamagedShard):
            log.warning("%s is damaged: %s; its texts are encoded again", shown(path), error)
            self._damaged.add(path)
        elif not isinstance(error, FileNotFoundError):  # which another process has found damaged
            log.warning("%s cannot be read: %s; its texts are encoded again", shown(path), error.strerror)
            self._unreadable.add(path)

    def _tell_unwritable(self, error: OSError) -> None:
        if not self._told_unwritable:
            log.warning(
                "THE VECTORS OF THE TEACHER CANNOT BE KEPT (%s); they stay in memory, and the next run encodes its "
                "texts again. Set MLEMBED_CACHE to a folder on a disk with room",
                error,
            )
        self._told_unwritable = True


def in_memory_shard(keys_N2: np.ndarray, vectors_ND: np.ndarray) -> Shard:
    """A shard without a file."""
    count, width = vectors_ND.shape
    return Shard(None, count=count, width=width, keys_N2=keys_N2, vectors_ND=vectors_ND)


def described(shards: Sequence[Shard]) -> list[tuple[str | None, int]]:
    """Paths (None: in memory) and sizes of shards, for a process that is to open the same ones."""
    return [(str(shard.path) if shard.path else None, shard.count) for shard in shards]


def mirrored(description: Sequence[tuple[str | None, int]], own: Sequence[Shard], *, width: int) -> list[Shard]:
    """The shards that another process has described.

    Args:
        description: what `described` has given.
        own: of this process, in memory; the same ones as over there, in the same order.
        width: D.
    """
    in_memory = iter(own)
    return [Shard(Path(path), count=count, width=width) if path else next(in_memory) for path, count in description]


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
