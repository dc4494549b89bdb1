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

    Args:
        keys_K: the distinct (student token, teacher token) pairs as `student * teacher_vocabulary + teacher`, sorted.
        entry_N: for each pair of positions its row in `keys_K`.
        position_N: for each pair of positions the number of its teacher position, counted over all texts.
        teacher_vocabulary: number of teacher tokens.
    """

    keys_K: np.ndarray
    entry_N: np.ndarray
    position_N: np.ndarray
    teacher_vocabulary: int


def make_bitext(
    student: TokenTable, teacher: TokenTable, *, pairs: np.ndarray, teacher_vocabulary: int, max_entries: int = MAX_ENTRIES
) -> Bitext:
    """Lay out the pairs of positions.

    Args:
        student: ids of the student's side, without special tokens.
        teacher: ids of the teacher's side, without special tokens.
        pairs: `[P, 2]` numbers of texts that are translations: one of `student`, one of `teacher`; as many of the first
            ones are used as there is room for, so they should be in random order.
        teacher_vocabulary: number of teacher tokens.
        max_entries: bounds the memory.
    """
    n_P = np.minimum(student.lengths_N[pairs[:, 0]], MAX_TOKENS)
    m_P = np.minimum(teacher.lengths_N[pairs[:, 1]], MAX_TOKENS)
    fits = np.cumsum(n_P * m_P) <= max_entries
    n_P, m_P, pairs = n_P[fits], m_P[fits], pairs[fits]
    size_P = n_P * m_P
    pair_N = np.repeat(np.arange(len(pairs)), size_P)
    within_N = np.arange(len(pair_N)) - np.repeat(np.cumsum(size_P) - size_P, size_P)
    row_N, column_N = within_N // m_P[pair_N], within_N % m_P[pair_N]
    student_N = student.ids[student.offsets[pairs[:, 0]][pair_N] + row_N].astype(np.int64)
    teacher_N = teacher.ids[teacher.offsets[pairs[:, 1]][pair_N] + column_N]
    keys_K, entry_N = np.unique(student_N * teacher_vocabulary + teacher_N, return_inverse=True)
    position_N = (np.cumsum(m_P) - m_P)[pair_N] + column_N
    return Bitext(keys_K, entry_N.astype(np.int32), position_N.astype(np.int32), teacher_vocabulary)


def align(
    bitext: Bitext, *, student_vocabulary: int, iterations: int = ITERATIONS, advance: Callable[[int], None] = lambda count: None
) -> sp.csr_matrix:
    """Expected counts of alignments between student and teacher tokens.

    Each teacher position picks one student token of the pair: `p(j -> i) = t(teacher_j | student_i) / sum_i' t(teacher_j |
    student_i')`; t is estimated anew from the expected counts. This direction gives frequent student tokens no more than
    their share, which the other one does.

    Args:
        bitext: the pairs of positions.
        student_vocabulary: number of student tokens.
        iterations: of expectation maximization.
        advance: called after each iteration.

    Returns:
        `[student_vocabulary, teacher_vocabulary]`, sparse.

    Source: Brown et al. (1993), The Mathematics of Statistical Machine Translation, Model 1.
    """
    student_K, teacher_K = np.divmod(bitext.keys_K, bitext.teacher_vocabulary)
    positions = int(bitext.position_N.max()) + 1 if len(bitext.position_N) else 0
    probability_K = np.ones(len(bitext.keys_K))
    counts_K = probability_K
    for _ in range(iterations):
        weight_N = probability_K[bitext.entry_N]
        total_J = np.bincount(bitext.position_N, weight_N, positions)
        weight_N /= total_J[bitext.position_N]
        counts_K = np.bincount(bitext.entry_N, weight_N, len(bitext.keys_K))
        probability_K = counts_K / np.bincount(student_K, counts_K, student_vocabulary)[student_K]
        advance(1)
    shape = (student_vocabulary, bitext.teacher_vocabulary)
    return sp.csr_matrix((counts_K, (student_K, teacher_K)), shape=shape)
