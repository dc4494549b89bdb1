"""How near a student's vectors are to its teacher's."""

from __future__ import annotations

import numpy as np

from mlembed.report.vectors import Floats, finite_rows, row_cosines


def cosine_to_teacher(student_ND: Floats, teacher_ND: Floats) -> Floats:
    """Return the cosine of each student vector with the teacher's, float64 of shape (rows,).

    Args:
        student_ND: one vector a row.
        teacher_ND: the teacher's vectors of the same meanings.

    Raises:
        ValueError: the shapes differ.
        MlembedError: vectors hold nan or infinity.
    """
    return row_cosines(student_ND, teacher_ND)


def squared_errors(student_ND: Floats, teacher_ND: Floats) -> tuple[Floats, Floats]:
    """Return what `unexplained_variance` divides, row by row, so that it can be resampled.

    Args:
        student_ND: one vector a row.
        teacher_ND: the teacher's vectors of the same meanings.

    Returns:
        Two float64 arrays of shape (rows,): ||student - teacher||^2 and ||teacher - mean teacher||^2.

    Raises:
        ValueError: the shapes differ.
        MlembedError: vectors hold nan or infinity.
    """
    if student_ND.shape != teacher_ND.shape:
        raise ValueError(f"student {student_ND.shape} and teacher {teacher_ND.shape} differ in shape")
    student_ND = finite_rows(student_ND, what="student vectors")
    teacher_ND = finite_rows(teacher_ND, what="teacher vectors")
    mean_D = teacher_ND.mean(axis=0, dtype=np.float64).astype(teacher_ND.dtype)
    error_ND, spread_ND = student_ND - teacher_ND, teacher_ND - mean_D
    error_N: Floats = np.einsum("nd,nd->n", error_ND, error_ND, dtype=np.float64)
    spread_N: Floats = np.einsum("nd,nd->n", spread_ND, spread_ND, dtype=np.float64)
    return error_N, spread_N


def unexplained_variance(student_ND: Floats, teacher_ND: Floats) -> float:
    """Return 1 - R2 = sum ||student - teacher||^2 / sum ||teacher - mean teacher||^2.

    It answers "is this mean squared error good?", as the error alone depends on width and length of the vectors:
    0 is perfect, 1 no better than answering the teacher's mean vector to every text, above 1 worse than that;
    a useful student is well below 0.5. It is nan where the teacher's vectors are all equal.

    Args:
        student_ND: one vector a row.
        teacher_ND: the teacher's vectors of the same meanings.

    Raises:
        ValueError: the shapes differ.
        MlembedError: vectors hold nan or infinity.
    """
    error_N, spread_N = squared_errors(student_ND, teacher_ND)
    return float(error_N.sum() / spread_N.sum()) if spread_N.sum() > 0 else float("nan")
