"""A shard: the keys of some texts and their vectors in one file, which is there completely or not at all.

A header of 40 bytes, N keys of 16 bytes, and N vectors of D numbers, float16, all in little-endian order. Nothing in it
is code, and no number in it is believed before the size of the file agrees.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import xxhash

from mlembed.faults import fault_point
from mlembed.files import sync_folder

SUFFIX = ".vectors"
STAGING = ".shard.part"
# Magic, version, D, N, and the checksum of these and of all that follows.
HEADER = struct.Struct("<8sIIQ16s")
MAGIC, VERSION = b"mlembedV", 1
KEY_BYTES = 16
# Texts of a shard: a quarter of a minute of a small teacher's work on a CPU; 25 MB of 384 dimensions.
SHARD_TEXTS = 32768
# More is not one of ours, and its keys are not read into memory.
MAX_TEXTS = 1 << 20
READ_BYTES = 1 << 22


class DamagedShard(Exception):
    """A file in the place of a shard that is none; the message says why."""


class Shard:
    """The vectors of some texts, on disk or, where that cannot be written, in memory.

    Args:
        path: its file; None: it is in memory.
        count: N.
        width: D.
        keys_N2: of a shard in memory.
        vectors_ND: of a shard in memory.

    Attributes:
        is_verified: whether its checksum agrees; it is looked at once.
        is_bad: whether it cannot be used; it keeps its place, so that rows stay what they are.
        used_N: which of its texts were asked for; None: not one, or this process has written it.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        count: int,
        width: int,
        keys_N2: np.ndarray | None = None,
        vectors_ND: np.ndarray | None = None,
    ) -> None:
        self.path, self.count, self.width = path, count, width
        self._keys_N2, self._vectors_ND = keys_N2, vectors_ND
        self.is_verified = path is None
        self.is_bad = False
        self.used_N: np.ndarray | None = None

    def keys(self) -> np.ndarray:
        """The keys of its texts, `[N, 2]` uint64.

        Raises:
            DamagedShard: they are not there.
            OSError: they cannot be read.
        """
        if self.path is None:
            assert self._keys_N2 is not None
            return self._keys_N2
        with _open(self.path) as file:
            file.seek(HEADER.size)
            found = file.read(self.count * KEY_BYTES)
        if len(found) < self.count * KEY_BYTES:
            raise DamagedShard("it has become shorter")
        return np.frombuffer(found, dtype="<u8").reshape(-1, 2)

    def vectors(self) -> np.ndarray:
        """The vectors, `[N, D]` float16, mapped into memory.

        Raises:
            DamagedShard: there is another thing in its place.
            OSError: it cannot be opened.
        """
        if self.path is None:
            assert self._vectors_ND is not None
            return self._vectors_ND
        with _open(self.path) as file:
            offset = HEADER.size + self.count * KEY_BYTES
            return np.memmap(file, dtype="<f2", mode="r", offset=offset, shape=(self.count, self.width))

    def verify(self) -> None:
        """Read it all, once, and compare with the checksum.

        Raises:
            DamagedShard: they differ.
            OSError: it cannot be read.
        """
        if self.is_verified:
            return
        assert self.path is not None
        with _open(self.path) as file:
            header = file.read(HEADER.size)
            digest = xxhash.xxh3_128(header[:-KEY_BYTES])
            while block := file.read(READ_BYTES):
                digest.update(block)
        if digest.digest() != header[-KEY_BYTES:]:
            raise DamagedShard("its checksum differs")
        self.is_verified = True


def open_shard(path: Path, *, width: int) -> Shard:
    """Look at the header of a shard and at its size; the rest is looked at by `Shard.verify`.

    Args:
        path: the file.
        width: D, which is known.

    Raises:
        DamagedShard: it is no shard of such vectors.
        OSError: it cannot be read.
    """
    with _open(path) as file:
        header = file.read(HEADER.size)
        size = os.fstat(file.fileno()).st_size
    if len(header) < HEADER.size:
        raise DamagedShard(f"it has {size} bytes")
    magic, version, found_width, count, _ = HEADER.unpack(header)
    if (magic, version, found_width) != (MAGIC, VERSION, width):
        raise DamagedShard("its header is not that of a shard of this teacher")
    expected = HEADER.size + count * (KEY_BYTES + 2 * width)
    if not 0 < count <= MAX_TEXTS or size != expected:
        raise DamagedShard(f"it has {size} bytes instead of {expected}")
    return Shard(path, count=count, width=width)


def write_shard(folder: Path, keys_N2: np.ndarray, vectors_ND: np.ndarray) -> Shard:
    """Write a shard under another name, and rename it when it is on the disk.

    Args:
        folder: where it goes; only one process at a time writes there.
        keys_N2: of N texts, uint64.
        vectors_ND: float16.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    count, width = vectors_ND.shape
    parts = [np.ascontiguousarray(keys_N2, dtype="<u8"), np.ascontiguousarray(vectors_ND, dtype="<f2")]
    start = HEADER.pack(MAGIC, VERSION, width, count, b"")[:-KEY_BYTES]
    digest = xxhash.xxh3_128(start)
    for part in parts:
        digest.update(part.data)
    staging, final = folder / STAGING, folder / f"{digest.hexdigest()}{SUFFIX}"
    try:
        staging.unlink(missing_ok=True)
        with staging.open("xb") as file:
            file.write(start + digest.digest())
            for part in parts:
                file.write(part.data)
            file.flush()
            fault_point("shard.written")
            os.fsync(file.fileno())
        staging.replace(final)
    finally:
        staging.unlink(missing_ok=True)
    sync_folder(folder)
    shard = Shard(final, count=count, width=width)
    shard.is_verified = True
    fault_point("shard.done")
    return shard


def texts_in(folder: Path) -> int:
    """The number of texts in all shards of a folder, by their headers alone."""
    total = 0
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            with _open(path) as file:
                header = file.read(HEADER.size)
                size = os.fstat(file.fileno()).st_size
        except (DamagedShard, OSError):
            continue
        if len(header) == HEADER.size and (found := HEADER.unpack(header))[0] == MAGIC:
            _, _, width, count, _ = found
            total += count if size == HEADER.size + count * (KEY_BYTES + 2 * width) else 0
    return total


def _open(path: Path) -> BinaryIO:
    """Open a plain file: no link, and nothing that one could wait for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DamagedShard("it is a link") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DamagedShard("it is not a plain file")
    return os.fdopen(descriptor, "rb")
