"""The teacher's vectors: each distinct text is encoded once, and kept for languages, epochs, runs and processes."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Iterator, Sequence

import numpy as np

from mlembed.cache.cache_folder import shown
from mlembed.cache.request import Request
from mlembed.cache.shard import SHARD_TEXTS, DamagedShard, Shard
from mlembed.cache.stored_vectors import StoredVectors, index_array
from mlembed.cache.vector_store import VectorStore, described, in_memory_shard, mirrored
from mlembed.errors import TrainingFailed
from mlembed.fingerprint import text_fingerprint
from mlembed.machine import Machine
from mlembed.models.text_model import TextModel
from mlembed.tasks.embedding import check_targets

log = logging.getLogger("mlembed")

# Texts that are looked up at once: a request of more needs no more memory.
PART_TEXTS = 1 << 22
SECONDS_BETWEEN_TRIES = 0.2
# Raised when the same text would get other vectors from the same teacher.
ENCODING = 1


class Teaching:
    """A teacher and the store of its vectors.

    All processes of a run call the same methods with the same texts; the first one looks texts up and writes.

    Args:
        teacher: it may get dense layers later, such as a reduction: its vectors are others then, and kept apart.
        name: what people call it.
        fingerprint: of the folder that it was loaded from.
        machine: what it computes with.
    """

    def __init__(self, teacher: TextModel, *, name: str, fingerprint: str, machine: Machine) -> None:
        self.teacher, self.machine = teacher, machine
        self._name, self._fingerprint = name, fingerprint
        self._store: VectorStore | None = None
        self._key = ""
        self._in_memory = False
        self._encoded = self._found = 0
        self._waited_for = ""

    def of(self, model: TextModel) -> Teaching:
        """The store of what another model gives that was loaded from the same folder, such as the teacher's encoder."""
        return type(self)(model, name=self._name, fingerprint=self._fingerprint, machine=self.machine)

    def encode(self, texts: Sequence[str], *, what: str = "teacher") -> np.ndarray:
        """The teacher's vectors of a few texts, `[N, D]` float32, which have gone through float16; see `vectors`."""
        return self.vectors(texts, what=what)[:].astype(np.float32)

    def vectors(self, texts: Sequence[str], *, what: str = "teacher") -> StoredVectors:
        """The teacher's vectors of texts, which are encoded where they are not in the store.

        Args:
            texts: N texts, with repetitions or without; no more than a part of them is in memory.
            what: what the screen calls it while some are encoded.

        Raises:
            TrainingFailed: a vector is not finite, or too large for float16; it is not stored.
        """
        store, processes = self._open(), self.machine.processes
        row_N = index_array(len(texts), folder=store.folder)
        for start in range(0, len(texts), PART_TEXTS):
            part = range(start, min(start + PART_TEXTS, len(texts)))
            row_N[part.start : part.stop] = self._rows(store, texts, part, what=what)
        if processes.count == 1:
            return store.vectors(row_N)
        shards = mirrored(processes.share(described(store.shards)), store.in_memory_shards(), width=store.width)
        found = StoredVectors(shards, row_N, width=store.width)
        if all(processes.collect(_all_can_be_read(shards))):
            return found
        log.warning(
            "%s is not there for all processes: they share no disk; the teacher's vectors stay in memory",
            shown(store.folder) if store.folder else "the store",
        )
        self.close()
        self._in_memory = True
        return self.vectors(texts, what=what)

    def missing(self, texts: Sequence[str]) -> int:
        """How many distinct texts of the first ones, of which there may be any number, are not in the store."""
        return self._open().look_up(Request(texts, range(min(len(texts), PART_TEXTS)), poll=self.machine.poll))

    def tell(self) -> None:
        """Say how many distinct texts were encoded, and how many were in the store before."""
        place, encoded, found = "", self._encoded, self._found
        if self._store is not None:
            encoded, found = encoded + self._store.encoded, found + self._store.found
            place = f" ({shown(self._store.folder)})" if self._store.folder else ""
        if encoded:
            log.info("teacher: %s texts encoded, %s were in the store%s", f"{encoded:,}", f"{found:,}", place)
        elif found:
            log.info("teacher: nothing to encode, all %s texts were in the store%s", f"{found:,}", place)

    def close(self) -> None:
        """From now on others may delete the store."""
        if self._store is not None:
            self._encoded += self._store.encoded
            self._found += self._store.found
            self._store.close()
        self._store, self._key = None, ""

    def _open(self) -> VectorStore:
        # All that decides the vectors of a text, whatever the teacher is called and wherever it lies.
        about = {
            "encoding": ENCODING,
            "model": self._fingerprint,
            "precision": self.machine.compute.precision,
            **self.teacher.about(),
        }
        key = text_fingerprint(about)[:32]
        if self._store is None or key != self._key:
            self.close()
            self._key = key
            self._store = VectorStore(
                key,
                about={"what": self._name, **about},
                width=self.teacher.width,
                in_memory=self._in_memory or not self.machine.processes.is_first,
            )
        return self._store

    def _rows(self, store: VectorStore, texts: Sequence[str], part: range, *, what: str) -> np.ndarray:
        """Where the vectors of a part of the texts are, through all shards."""
        processes = self.machine.processes
        request = Request(texts, part if processes.is_first else range(0), poll=self.machine.poll)
        if processes.first(lambda: store.look_up(request)):
            with self._alone(store):
                # Another process may have encoded them while this one waited.
                missing = processes.first(lambda: _look_again(store, request))
                if missing:
                    self._encode(store, texts, request, missing=missing, what=what)
        rows: np.ndarray = processes.share(request.rows())
        return rows

    def _encode(self, store: VectorStore, texts: Sequence[str], request: Request, *, missing: int, what: str) -> None:
        """Encode what is missing and keep it, shard by shard: what is done survives whatever comes."""
        machine, processes = self.machine, self.machine.processes
        wanted_K = request.missing()
        with machine.counting(what, total=missing) as advance:
            for start in range(0, missing, SHARD_TEXTS):
                distinct = wanted_K[start : start + SHARD_TEXTS]
                numbers = processes.share(request.text_numbers(distinct))
                chunk = [texts[number] for number in numbers]
                vectors_ND = _checked(machine.encode(self.teacher, chunk, what=what, advance=advance), chunk)
                add = functools.partial(store.add, request, distinct, vectors_ND)
                if not processes.first(add) and not processes.is_first:
                    store.shards.append(in_memory_shard(request.keys(distinct), vectors_ND))

    @contextlib.contextmanager
    def _alone(self, store: VectorStore) -> Iterator[None]:
        """Wait until no other run encodes with this teacher: it may well encode the same texts."""
        processes = self.machine.processes
        while not processes.first(store.try_lock):
            # Once for each run that is ahead: two runs that keep pace take the lock in turns.
            if (holder := store.holder()) != self._waited_for:
                log.info("waiting for %s, which encodes with the same teacher", holder)
                self._waited_for = holder
            time.sleep(SECONDS_BETWEEN_TRIES)
            # All processes wait together: each would lose patience alone, and a signal must end them all.
            self.machine.poll()
            self.machine.agree_to_end()
        try:
            yield
        finally:
            store.unlock()


def _look_again(store: VectorStore, request: Request) -> int:
    store.delete_damaged()
    return store.look_up(request)


def _checked(vectors_ND: np.ndarray, texts: list[str]) -> np.ndarray:
    """The vectors as float16: half the memory, and finer than bf16."""
    check_targets(vectors_ND, texts)
    with np.errstate(over="ignore"):
        half_ND = vectors_ND.astype(np.float16)
    if not np.isfinite(half_ND).all():
        raise TrainingFailed(
            f"the teacher gives vectors with numbers up to {np.abs(vectors_ND).max():.3g}, which float16 cannot hold "
            "(its largest is 65504). Check model.teacher.name; a teacher that normalizes has none of these."
        )
    return half_ND


def _all_can_be_read(shards: Sequence[Shard]) -> bool:
    try:
        for shard in shards:
            shard.vectors()
    except (DamagedShard, OSError, ValueError):
        return False
    return True
