"""IBM Model 1 on parallel text: which teacher tokens stand for which student tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from mlembed.tokens import TokenTable

# Entries are pairs of token positions; each costs about 24 bytes while the counts are summed.
MAX_ENTRIES = 40_000_000
# Pairs of long sentences have many entries and say little.
MAX_TOKENS = 64
ITERATIONS = 5


@dataclass(frozen=True)
class Bitext:
    """The token positions of aligned texts, all pairs of positions of each pair of texts.

    The student's side of each text has one position more, that of the null token, whose id is `student_vocabulary`:
    teacher tokens that stand for nothing in the translation go there.

    Args:
        keys_K: the distinct (student token, teacher token) pairs as `student * teacher_vocabulary + teacher`, sorted.
        entry_N: for each pair of positions its row in `keys_K`.
        position_N: for each pair of positions the number of its teacher position, counted over all texts.
        student_vocabulary: number of student tokens, without the null token.
        teacher_vocabulary: number of teacher tokens.
    """

    keys_K: np.ndarray
    entry_N: np.ndarray
    position_N: np.ndarray
    student_vocabulary: int
    teacher_vocabulary: int


def make_bitext(
    student: TokenTable,
    teacher: TokenTable,
    *,
    pairs: np.ndarray,
    student_vocabulary: int,
    teacher_vocabulary: int,
    max_entries: int = MAX_ENTRIES,
) -> Bitext:
    """Lay out the pairs of positions.

    Args:
        student: ids of the student's side, without special tokens.
        teacher: ids of the teacher's side, without special tokens.
        pairs: `[P, 2]` numbers of texts that are translations: one of `student`, one of `teacher`; as many of the first
            ones are used as there is room for, so they should be in random order.
        student_vocabulary: number of student tokens.
        teacher_vocabulary: number of teacher tokens.
        max_entries: bounds the memory.
    """
    n_P = np.minimum(student.lengths_N[pairs[:, 0]], MAX_TOKENS) + 1
    m_P = np.minimum(teacher.lengths_N[pairs[:, 1]], MAX_TOKENS)
    fits = np.cumsum(n_P * m_P) <= max_entries
    n_P, m_P, pairs = n_P[fits], m_P[fits], pairs[fits]
    size_P = n_P * m_P
    pair_N = np.repeat(np.arange(len(pairs)), size_P)
    within_N = np.arange(len(pair_N)) - np.repeat(np.cumsum(size_P) - size_P, size_P)
    row_N, column_N = within_N // m_P[pair_N], within_N % m_P[pair_N]
    is_null_N = row_N == n_P[pair_N] - 1
    where_N = student.offsets[pairs[:, 0]][pair_N] + np.where(is_null_N, 0, row_N)
    student_N = np.where(is_null_N, student_vocabulary, student.ids[np.minimum(where_N, len(student.ids) - 1)])
    teacher_N = teacher.ids[teacher.offsets[pairs[:, 1]][pair_N] + column_N]
    keys_K, entry_N = np.unique(student_N.astype(np.int64) * teacher_vocabulary + teacher_N, return_inverse=True)
    position_N = (np.cumsum(m_P) - m_P)[pair_N] + column_N
    return Bitext(keys_K, entry_N.astype(np.int32), position_N.astype(np.int32), student_vocabulary, teacher_vocabulary)


def align(
    bitext: Bitext,
    *,
    iterations: int = ITERATIONS,
    advance: Callable[[int], None] = lambda count: None,
    null: bool = False,
) -> sp.csr_matrix:
    """The probability of each teacher token, given the student token that it is aligned with.

    Each teacher position j picks one student position of its pair, or the null token:
    `p(i | j) = t(teacher_j | student_i) / sum_i' t(teacher_j | student_i')`; t is estimated anew from these expected
    counts. In the other direction, where student positions pick teacher tokens, frequent ones draw everything to them.

    Args:
        bitext: the pairs of positions.
        iterations: of expectation maximization.
        advance: called after each iteration.
        null: with the null token, as the last row.

    Returns:
        `[student_vocabulary, teacher_vocabulary]`, sparse; rows sum to 1, or to 0 for a token that is never aligned.

    Source: Brown et al. (1993), The Mathematics of Statistical Machine Translation, Model 1.
    """
    student_K, teacher_K = np.divmod(bitext.keys_K, bitext.teacher_vocabulary)
    positions = int(bitext.position_N.max()) + 1 if len(bitext.position_N) else 0
    probability_K = np.ones(len(bitext.keys_K))
    for _ in range(iterations):
        weight_N = probability_K[bitext.entry_N]
        weight_N /= np.bincount(bitext.position_N, weight_N, positions)[bitext.position_N]
        counts_K = np.bincount(bitext.entry_N, weight_N, len(bitext.keys_K))
        probability_K = counts_K / np.maximum(np.bincount(student_K, counts_K), 1e-30)[student_K]
        advance(1)
    rows = bitext.student_vocabulary + null
    real = student_K < rows
    shape = (rows, bitext.teacher_vocabulary)
    return sp.csr_matrix((probability_K[real], (student_K[real], teacher_K[real])), shape=shape)
