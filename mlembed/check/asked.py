"""A teacher whose vectors are made when a step asks for them: a look needs a few, not those of all texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlembed.cache.stored_vectors import StoredVectors
from mlembed.teaching import Teaching


class AskedVectors(StoredVectors):
    """An array `[N, D]` float16 whose rows are encoded when they are asked for.

    Args:
        texts: N texts.
        encode: texts to vectors.
        width: D.
    """

    def __init__(self, texts: Sequence[str], encode: Callable[[Sequence[str]], np.ndarray], *, width: int) -> None:
        super().__init__((), np.arange(len(texts)), width=width)
        self._texts, self._encode = texts, encode
        # What encoding has taken so far.
        self.encoded, self.seconds = 0, 0.0

    def __getitem__(self, wanted: Any) -> np.ndarray:
        """The vectors of indices, of a slice, or of one index."""
        numbers = np.asarray(self._row_N[wanted])
        started = time.perf_counter()
        vectors_MD = self._encode([self._texts[int(number)] for number in numbers.ravel()])
        self.seconds += time.perf_counter() - started
        self.encoded += numbers.size
        return vectors_MD.astype(np.float16).reshape(*numbers.shape, self._width)


class AskedTeaching(Teaching):
    """A teacher that keeps no vectors: it may be an untrained one, whose answers nobody wants."""

    def vectors(self, texts: Sequence[str], *, what: str = "teacher") -> AskedVectors:
        """See `Teaching`; nothing is encoded yet."""

        def encode(asked: Sequence[str]) -> np.ndarray:
            return self.machine.encode(self.teacher, asked, what=what)

        return AskedVectors(texts, encode, width=self.teacher.width)
