"""Orders and choices of many things that are computed where they are looked at, without memory for all."""

from __future__ import annotations

import hashlib

import numpy as np

# With fewer rounds the next number can be told from the last.
ROUNDS = 6


def order_key(*parts: int) -> int:
    """63 bits that differ for other numbers."""
    digest = hashlib.blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def shuffled(place_N: np.ndarray, size_N: np.ndarray | int, *, key: int) -> np.ndarray:
    """What stands at some places of a shuffled sequence of the numbers 0 to size - 1.

    A Feistel network over pairs (a, b) with a < A, b < B and A * B a little more than the size; numbers beyond the size
    are sent through it again until they are below it, so that each number stands at exactly one place.

    Args:
        place_N: places, each less than the size; int64.
        size_N: length of the sequence, at most 2**62; or one for each place, for several sequences.
        key: of the order, from `order_key`; sequences of another size or key are in another order.

    Returns:
        `[N]` int64.

    Source: Black and Rogaway (2002), Ciphers with Arbitrary Finite Domains: the generalized Feistel network, and cycle
    walking.
    """
    sizes_N = np.asarray(size_N, dtype=np.int64)
    # The root of a float is exact enough: A * B is at least the size, whatever A is.
    rows_N = np.maximum(np.sqrt(sizes_N).astype(np.int64), 1)
    columns_N = -(-sizes_N // rows_N)
    number_N: np.ndarray = _rounds(np.asarray(place_N, dtype=np.int64), rows_N, columns_N, key=key)
    beyond = np.flatnonzero(number_N >= sizes_N)
    while len(beyond):
        rows, columns, sizes = (part if part.ndim == 0 else part[beyond] for part in (rows_N, columns_N, sizes_N))
        again = _rounds(number_N[beyond], rows, columns, key=key)
        number_N[beyond] = again
        beyond = beyond[again >= sizes]
    return number_N


def _rounds(number_N: np.ndarray, rows_N: np.ndarray, columns_N: np.ndarray, *, key: int) -> np.ndarray:
    row_N, column_N = np.divmod(number_N, columns_N)
    for at in range(0, ROUNDS, 2):
        row_N = _shifted(row_N, column_N, rows_N, key=order_key(key, at))
        column_N = _shifted(column_N, row_N, columns_N, key=order_key(key, at + 1))
    moved_N: np.ndarray = row_N * columns_N + column_N
    return moved_N


def _shifted(left_N: np.ndarray, right_N: np.ndarray, modulus_N: np.ndarray, *, key: int) -> np.ndarray:
    """`left + f(right)`, within the modulus; f is the mixer of splitmix64."""
    mixed_N = right_N.astype(np.uint64)
    mixed_N += np.uint64(key)
    mixed_N ^= mixed_N >> np.uint64(30)
    mixed_N *= np.uint64(0xBF58476D1CE4E5B9)
    mixed_N ^= mixed_N >> np.uint64(27)
    mixed_N *= np.uint64(0x94D049BB133111EB)
    # The upper 31 bits, scaled to the modulus: cheaper than a division.
    mixed_N >>= np.uint64(33)
    moved_N = (mixed_N.astype(np.int64) * modulus_N >> 31) + left_N
    within_N: np.ndarray = np.where(moved_N >= modulus_N, moved_N - modulus_N, moved_N)
    return within_N


def spread(number_N: np.ndarray, *, total: int, count: int) -> np.ndarray:
    """Which of `total` things are kept when `count` of them are, spread evenly.

    Args:
        number_N: numbers of some of the things, from 0.
        total: how many there are.
        count: how many are kept; all where there are not more.

    Returns:
        `[N]` bool: whether the number is `i * total // count` for some i.
    """
    if total <= count:
        return np.ones(len(number_N), dtype=bool)
    # An integer i lies in [n * count / total, (n + 1) * count / total): the ceilings of both ends differ.
    kept_N: np.ndarray = -(-number_N * count // total) < -(-(number_N + 1) * count // total)
    return kept_N
