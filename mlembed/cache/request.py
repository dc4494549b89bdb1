"""What is asked of a store: the keys of some texts, each distinct one once, and where their vectors are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

# Texts that are taken out of a sequence at once, which may read them from a disk.
BLOCK_TEXTS = 1 << 16


class Request:
    """N texts of a sequence, of which K are distinct.

    Args:
        texts: a sequence, of which no more than a block is in memory at once.
        part: numbers of the texts that are meant.
        poll: called now and then; raises to end early.

    Attributes:
        row_K: where each distinct text's vector is; -1: nowhere yet.
    """

    def __init__(self, texts: Sequence[str], part: range, *, poll: Callable[[], None] = lambda: None) -> None:
        blocks = []
        for start in range(part.start, part.stop, BLOCK_TEXTS):
            poll()
            blocks.append(text_keys(texts[start : min(start + BLOCK_TEXTS, part.stop)]))
        keys_N2 = np.concatenate(blocks) if blocks else np.zeros((0, 2), dtype="<u8")
        order_N = np.lexsort((keys_N2[:, 1], keys_N2[:, 0]))
        keys_N2 = keys_N2[order_N]
        is_new_N = np.ones(len(order_N), dtype=bool)
        is_new_N[1:] = (keys_N2[1:] != keys_N2[:-1]).any(axis=1)
        self._distinct_N = np.empty(len(order_N), dtype=np.int64)
        self._distinct_N[order_N] = np.cumsum(is_new_N) - 1
        # Sorted; among equal ones, the order of the texts stayed, so that the first of them is meant.
        self._keys_K2 = keys_N2[is_new_N]
        self._first_K = part.start + order_N[is_new_N]
        self._longest = _longest_run(self._keys_K2[:, 0])
        self.row_K = np.full(len(self._keys_K2), -1, dtype=np.int64)

    def match(self, keys_M2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of the distinct texts have one of some keys: their numbers, and the positions of the keys."""
        high_K, low_K = self._keys_K2.T
        place_M = np.searchsorted(high_K, keys_M2[:, 0])
        found, positions = [], []
        for step in range(self._longest):
            # Different texts may agree in the first half of their keys; hardly ever do.
            at_M = np.minimum(place_M + step, len(high_K) - 1)
            is_same_M = (high_K[at_M] == keys_M2[:, 0]) & (low_K[at_M] == keys_M2[:, 1])
            found.append(at_M[is_same_M])
            positions.append(np.flatnonzero(is_same_M))
        if not found:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        return np.concatenate(found), np.concatenate(positions)

    def missing(self) -> np.ndarray:
        """Numbers of the distinct texts that are nowhere yet, in the order of the texts."""
        missing = np.flatnonzero(self.row_K < 0)
        return missing[np.argsort(self._first_K[missing], kind="stable")]

    def text_numbers(self, distinct: np.ndarray) -> np.ndarray:
        """Numbers of texts in the sequence, of some of the distinct ones."""
        numbers: np.ndarray = self._first_K[distinct]
        return numbers

    def keys(self, distinct: np.ndarray) -> np.ndarray:
        """Keys of some of the distinct texts, `[n, 2]`."""
        keys_n2: np.ndarray = self._keys_K2[distinct]
        return keys_n2

    def rows(self) -> np.ndarray:
        """For each of the N texts where its vector is."""
        return self.row_K[self._distinct_N]


def text_keys(texts: Sequence[str]) -> np.ndarray:
    """128 bits of BLAKE2b for each text, `[N, 2]` uint64."""
    digests = (hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2)


def _longest_run(sorted_K: np.ndarray) -> int:
    """The largest number of equal values side by side."""
    starts = np.flatnonzero(np.concatenate([[True], sorted_K[1:] != sorted_K[:-1]])) if len(sorted_K) else sorted_K
    return int(np.diff(np.append(starts, len(sorted_K))).max()) if len(sorted_K) else 0
