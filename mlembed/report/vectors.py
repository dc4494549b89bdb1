"""Rows of vectors, checked and scaled to unit length before anything is measured on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlembed.errors import MlembedError

Floats = NDArray[np.floating]


def finite_rows(vectors_ND: Floats, *, what: str = "vectors") -> Floats:
    """Return the vectors as float32 (float64 stays), once it is sure that all numbers are finite.

    Args:
        vectors_ND: one vector a row.
        what: the name of the vectors in the message.

    Raises:
        MlembedError: some rows hold nan or infinity: a score over the others would hide a broken model.
        ValueError: not a matrix.
    """
    if vectors_ND.ndim != 2:
        raise ValueError(f"{what}: a matrix (rows, width) is needed, the shape is {vectors_ND.shape}")
    if vectors_ND.dtype not in (np.float32, np.float64):
        vectors_ND = vectors_ND.astype(np.float32)
    broken_N = ~np.isfinite(vectors_ND).all(axis=1)
    if broken_N.any():
        raise MlembedError(
            f"{what}: {int(broken_N.sum())} of {len(vectors_ND)} vectors hold nan or infinity (the first is row "
            f"{int(broken_N.argmax())}). The model's weights are broken, or the precision is too low for it: "
            "try an earlier checkpoint, or fp32."
        )
    return vectors_ND


def unit_rows(vectors_ND: Floats, *, what: str = "vectors") -> Floats:
    """Return the vectors scaled to length 1; a vector of zeros stays, and has cosine 0 to everything.

    Args:
        vectors_ND: one vector a row.
        what: the name of the vectors in the message.

    Raises:
        MlembedError: some rows hold nan or infinity.
    """
    vectors_ND = finite_rows(vectors_ND, what=what)
    # The largest entry is divided out first: squares of 1e-30 or 1e30 leave the range of float32.
    largest_N1 = np.abs(vectors_ND).max(axis=1, keepdims=True, initial=0.0)
    vectors_ND = vectors_ND / np.where(largest_N1 > 0, largest_N1, 1)
    length_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    unit_ND: Floats = vectors_ND / np.where(length_N1 > 0, length_N1, 1)
    return unit_ND


def row_cosines(first_ND: Floats, second_ND: Floats) -> Floats:
    """Return the cosine of each row of one matrix with the same row of the other, float64 of shape (rows,).

    Args:
        first_ND: one vector a row.
        second_ND: the same shape.

    Raises:
        ValueError: the shapes differ.
        MlembedError: some rows hold nan or infinity.
    """
    if first_ND.shape != second_ND.shape:
        raise ValueError(f"rows are compared one by one, but the shapes are {first_ND.shape} and {second_ND.shape}")
    first_ND, second_ND = unit_rows(first_ND, what="first vectors"), unit_rows(second_ND, what="second vectors")
    cosines_N: Floats = np.einsum("nd,nd->n", first_ND, second_ND, dtype=np.float64)
    return np.clip(cosines_N, -1.0, 1.0)
