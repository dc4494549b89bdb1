"""How well the words of a translation fit those of its source, by IBM Model 1 learnt from the corpus itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from mlembed.models.alignment import MAX_TOKENS, align, make_bitext
from mlembed.tokens import TokenTable

# Pairs that each half is judged by, at most: more make it slower, and little better.
MOST_LEARNT = 10_000
# The share of the probability of a token that its plain frequency keeps: no token is impossible.
PLAIN = 0.2
# Pairs that are scored at once.
CHUNK = 2000


def word_evidence(
    source: TokenTable,
    target: TokenTable,
    *,
    vocabulary: int,
    seed: int,
    advance: Callable[[int], None] = lambda count: None,
) -> tuple[np.ndarray, np.ndarray]:
    """How much likelier the tokens of each source are beside its translation than on their own.

    It is the mean over a source's tokens of `log(p(token | translation) / p(token))`. Each half of the pairs is scored
    with what is learnt from the other, so that a wrong pair does not vouch for itself.

    Args:
        source: token ids of N sources, without special tokens.
        target: token ids of their translations into one language.
        vocabulary: number of tokens of either side.
        seed: of the halves, and of the wrong pairs.
        advance: called after each half.

    Returns:
        `[N]` of the pairs as they are, and `[N]` of each source with a translation of another one: what wrong pairs
        look like.
    """
    draw = np.random.Generator(np.random.PCG64(seed))
    count = len(source)
    order = draw.permutation(count)
    # Each source beside the translation of the next one in a random order.
    wrong_N = np.empty(count, dtype=np.int64)
    wrong_N[order] = np.roll(order, 1)
    own_N, other_N = np.zeros(count), np.zeros(count)
    frequency_V = np.bincount(source.ids, minlength=vocabulary) + 0.5
    frequency_V = frequency_V / frequency_V.sum()
    for learnt, judged in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        pairs = np.repeat(learnt[:MOST_LEARNT, None], 2, axis=1)
        sizes = {"student_vocabulary": vocabulary, "teacher_vocabulary": vocabulary}
        table = align(make_bitext(target, source, pairs=pairs, **sizes), null=True)
        scorer = _Scorer(table, frequency_V)
        for start in range(0, len(judged), CHUNK):
            part = judged[start : start + CHUNK]
            own_N[part] = scorer.score(source, target, part, part)
            other_N[part] = scorer.score(source, target, part, wrong_N[part])
        advance(1)
    return own_N, other_N


class _Scorer:
    """Scores pairs with what was learnt.

    Args:
        table: of `align`, with the null token as its last row.
        frequency_V: the plain probability of each token of the sources.
    """

    def __init__(self, table: sp.csr_matrix, frequency_V: np.ndarray) -> None:
        table.sort_indices()
        self._vocabulary = len(frequency_V)
        rows = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
        self._keys_K = rows.astype(np.int64) * self._vocabulary + table.indices
        self._probability_K = table.data
        self._frequency_V = frequency_V

    def score(self, source: TokenTable, target: TokenTable, sources_P: np.ndarray, targets_P: np.ndarray) -> np.ndarray:
        """The mean log ratio of the tokens of each of P sources beside a translation."""
        n_P = np.minimum(target.lengths_N[targets_P], MAX_TOKENS) + 1
        m_P = np.minimum(source.lengths_N[sources_P], MAX_TOKENS)
        pair_E, within_E = _places(n_P * m_P)
        given_E, said_E = np.divmod(within_E, m_P[pair_E])
        is_null_E = given_E == n_P[pair_E] - 1
        at_E = np.minimum(target.offsets[targets_P][pair_E] + given_E, len(target.ids) - 1)
        given_E = np.where(is_null_E, self._vocabulary, target.ids[at_E])
        probability_E = self._look_up(given_E, source.ids[source.offsets[sources_P][pair_E] + said_E])
        first_P = np.cumsum(m_P) - m_P
        total_M = np.bincount(first_P[pair_E] + said_E, probability_E, int(m_P.sum()))
        pair_M, place_M = _places(m_P)
        plain_M = self._frequency_V[source.ids[source.offsets[sources_P][pair_M] + place_M]]
        ratio_M = np.log((1 - PLAIN) * total_M / n_P[pair_M] / plain_M + PLAIN)
        scores_P: np.ndarray = np.bincount(pair_M, ratio_M, len(m_P)) / np.maximum(m_P, 1)
        return scores_P

    def _look_up(self, given_E: np.ndarray, said_E: np.ndarray) -> np.ndarray:
        keys_E = given_E.astype(np.int64) * self._vocabulary + said_E
        at_E = np.searchsorted(self._keys_K, keys_E).clip(max=max(0, len(self._keys_K) - 1))
        if not len(self._keys_K):
            return np.zeros(len(keys_E))
        return np.where(self._keys_K[at_E] == keys_E, self._probability_K[at_E], 0.0)


def _places(size_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of its group, and the place in it, of each member of groups of these sizes."""
    group_E = np.repeat(np.arange(len(size_P)), size_P)
    return group_E, np.arange(len(group_E)) - np.repeat(np.cumsum(size_P) - size_P, size_P)
