"""Retrieval at 1 by cosine and by ratio margin, block by block, with ties and duplicates counted fairly.

A candidate is a distinct text, and a query is right when it finds any text that the rows list as its partner, so
duplicates never cost a point. Where k different texts tie for the first place, each gets 1/k: that is the
expectation of drawing one of them, and it gives a collapsed model (all vectors equal) 1/candidates, not 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlembed.report.vectors import Floats, finite_rows, unit_rows

Ints = NDArray[np.intp]

# Equal vectors get cosines that differ by rounding, by where BLAS finds them in a block: such a gap decides nothing.
TIE = 1e-6
CHUNK_SIZE = 1024
# Cosines of the nearest neighbors near or below zero would turn the order of a ratio round.
_SMALLEST_NEIGHBORHOOD = 1e-3

_Rescore = Callable[[Floats, "Ints | slice", "Ints | slice"], Floats]


@dataclass(frozen=True, slots=True)
class _Search:
    """Distinct queries, distinct candidates, and the pairs (query, candidate) that are right."""

    queries_QD: Floats
    candidates_CD: Floats
    pair_query_P: Ints
    pair_candidate_P: Ints
    query_of_row_N: Ints
    chunk_size: int

    def blocks(self) -> Iterator[tuple[slice, slice, Floats]]:
        """Yield rows, columns and cosines of one block at a time, at most chunk_size x chunk_size numbers."""
        for top in range(0, len(self.queries_QD), self.chunk_size):
            rows = slice(top, min(top + self.chunk_size, len(self.queries_QD)))
            for left in range(0, len(self.candidates_CD), self.chunk_size):
                columns = slice(left, min(left + self.chunk_size, len(self.candidates_CD)))
                yield rows, columns, self.queries_QD[rows] @ self.candidates_CD[columns].T

    def pair_cosines(self) -> Floats:
        """Return the cosine of each right pair, shape (pairs,)."""
        cosines_P = np.empty(len(self.pair_query_P), dtype=self.queries_QD.dtype)
        for start in range(0, len(cosines_P), self.chunk_size):
            part = slice(start, start + self.chunk_size)
            queries_BD = self.queries_QD[self.pair_query_P[part]]
            cosines_P[part] = np.einsum("bd,bd->b", queries_BD, self.candidates_CD[self.pair_candidate_P[part]])
        return cosines_P


def retrieval_hits(
    queries_ND: Floats,
    candidates_MD: Floats,
    *,
    gold_N: Ints,
    candidate_texts: Sequence[str],
    query_texts: Sequence[str] | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> Floats:
    """Return for each query whether its nearest candidate by cosine is the right one.

    Candidates of the same text are one candidate, with the vector of the first of them. Memory is that of the
    vectors and two blocks of chunk_size x chunk_size.

    Args:
        queries_ND: one query a row, of any length.
        candidates_MD: one candidate a row.
        gold_N: the row of the right candidate of each query.
        candidate_texts: M texts; a query that finds another row with the text of its gold is right.
        query_texts: N texts; where given, the queries of one text share their golds (a sentence may have two
            translations, and either is right), and the vector of the first of them.
        chunk_size: queries and candidates in a block.

    Returns:
        hits_N, float64: 1 found, 0 not found, 1/k where the gold ties with k - 1 other texts for the first place
        (cosines within 1e-6).

    Raises:
        ValueError: counts or widths do not fit.
        MlembedError: vectors hold nan or infinity.
    """
    search = _search(queries_ND, candidates_MD, gold_N, candidate_texts, query_texts, chunk_size)
    return _credits(search, rescore=lambda cosines, _rows, _columns: cosines)[search.query_of_row_N]


def margin_error(
    queries_ND: Floats,
    candidates_ND: Floats,
    *,
    candidate_texts: Sequence[str],
    query_texts: Sequence[str] | None = None,
    k: int = 4,
    chunk_size: int = CHUNK_SIZE,
) -> Floats:
    """Return for each pair of rows whether the query misses its candidate under the ratio margin.

    The score is cos(x, y) / ((mean cos of x to its k nearest candidates + mean cos of y to its k nearest queries) / 2),
    the best of the k nearest candidates of x wins: Artetxe and Schwenk 2019 (arXiv:1811.01136), as xsim of LASER
    computes it from foreign text to English. Candidates that tie with the k-th nearest are in as well. Texts,
    duplicates and ties as in `retrieval_hits`.

    Args:
        queries_ND: one query a row.
        candidates_ND: row i is the right candidate of query i.
        candidate_texts: N texts.
        query_texts: N texts, or None where each query is a text of its own.
        k: neighbors on either side; all, where there are fewer.
        chunk_size: queries and candidates in a block.

    Returns:
        errors_N, float64: 0 found, 1 missed, 1 - 1/t where the gold is one of t texts that tie for the first place.

    Raises:
        ValueError: counts or widths do not fit.
        MlembedError: vectors hold nan or infinity.
    """
    if len(queries_ND) != len(candidates_ND) or k < 1:
        raise ValueError(f"{len(queries_ND)} queries, {len(candidates_ND)} candidates, k={k}: equal counts and k >= 1")
    gold_N = np.arange(len(queries_ND))
    search = _search(queries_ND, candidates_ND, gold_N, candidate_texts, query_texts, chunk_size)
    around_query_Q, kth_Q, around_candidate_C = _neighborhoods(search, k=k)

    def rescore(cosines: Floats, rows: Ints | slice, columns: Ints | slice) -> Floats:
        around_query, kth = around_query_Q[rows], kth_Q[rows]
        if cosines.ndim == 2:
            around_query, kth = around_query[:, None], kth[:, None]
        neighborhood = np.maximum((around_query + around_candidate_C[columns]) / 2, _SMALLEST_NEIGHBORHOOD)
        return np.where(cosines >= kth - TIE, cosines / neighborhood, -np.inf)

    return 1.0 - _credits(search, rescore=rescore)[search.query_of_row_N]


def _search(
    queries_ND: Floats,
    candidates_MD: Floats,
    gold_N: Ints,
    candidate_texts: Sequence[str],
    query_texts: Sequence[str] | None,
    chunk_size: int,
) -> _Search:
    """Merge duplicate texts, and list the pairs that are right."""
    if len(gold_N) != len(queries_ND) or len(candidate_texts) != len(candidates_MD) or chunk_size < 1:
        raise ValueError(
            f"{len(queries_ND)} queries with {len(gold_N)} golds, {len(candidates_MD)} candidates with "
            f"{len(candidate_texts)} texts, chunk_size={chunk_size}: the counts must agree, chunk_size is at least 1"
        )
    if query_texts is not None and len(query_texts) != len(queries_ND):
        raise ValueError(f"{len(queries_ND)} queries, but {len(query_texts)} query texts")
    if queries_ND.shape[1:] != candidates_MD.shape[1:]:
        raise ValueError(f"queries {queries_ND.shape} and candidates {candidates_MD.shape} differ in width")
    first_C, candidate_of_M = _merge(candidate_texts)
    first_Q, query_of_N = _merge(range(len(queries_ND)) if query_texts is None else query_texts)
    # One integer a pair, so that np.unique sorts numbers and not rows.
    pairs_P = np.unique(query_of_N * len(first_C) + candidate_of_M[np.asarray(gold_N, dtype=np.intp)])
    return _Search(
        queries_QD=unit_rows(finite_rows(queries_ND, what="query vectors")[first_Q]),
        candidates_CD=unit_rows(finite_rows(candidates_MD, what="candidate vectors")[first_C]),
        pair_query_P=pairs_P // max(len(first_C), 1),
        pair_candidate_P=pairs_P % max(len(first_C), 1),
        query_of_row_N=query_of_N,
        chunk_size=chunk_size,
    )


def _merge(texts: Sequence[object]) -> tuple[Ints, Ints]:
    """Return the first row of each distinct text, and the number of the distinct text of each row."""
    numbers: dict[object, int] = {}
    first: list[int] = []
    of_row = np.empty(len(texts), dtype=np.intp)
    for row, text in enumerate(texts):
        number = numbers.setdefault(text, len(numbers))
        if number == len(first):
            first.append(row)
        of_row[row] = number
    return np.array(first, dtype=np.intp), of_row


def _credits(search: _Search, *, rescore: _Rescore) -> Floats:
    """Return for each query the share of right candidates among those that hold the first place, float64."""
    count = len(search.queries_QD)
    pair_scores_P = rescore(search.pair_cosines(), search.pair_query_P, search.pair_candidate_P)
    gold_Q = np.full(count, -np.inf, dtype=pair_scores_P.dtype)
    np.maximum.at(gold_Q, search.pair_query_P, pair_scores_P)
    first_P = pair_scores_P >= gold_Q[search.pair_query_P] - TIE
    right_Q = np.bincount(search.pair_query_P, weights=first_P, minlength=count)
    beaten_Q = np.zeros(count, dtype=bool)
    tied_Q = np.zeros(count, dtype=np.int64)
    for rows, columns, cosines in search.blocks():
        scores = rescore(cosines, rows, columns)
        beaten_Q[rows] |= scores.max(axis=1) > gold_Q[rows] + TIE
        tied_Q[rows] += np.count_nonzero(scores >= gold_Q[rows, None] - TIE, axis=1)
    # A gold always ties with itself, whatever the rounding of its block says.
    credits_Q: Floats = np.where(beaten_Q, 0.0, right_Q / np.maximum(tied_Q, right_Q))
    return credits_Q


def _neighborhoods(search: _Search, *, k: int) -> tuple[Floats, Floats, Floats]:
    """Return each query's mean cosine to its k nearest and the cosine of the k-th, and each candidate's mean."""
    queries, candidates = len(search.queries_QD), len(search.candidates_CD)
    nearest_QK = np.full((queries, min(k, candidates)), -np.inf, dtype=search.queries_QD.dtype)
    nearest_CK = np.full((candidates, min(k, queries)), -np.inf, dtype=search.queries_QD.dtype)
    for rows, columns, cosines in search.blocks():
        nearest_QK[rows] = _largest(nearest_QK[rows], cosines)
        nearest_CK[columns] = _largest(nearest_CK[columns], cosines.T)
    return nearest_QK.mean(axis=1), nearest_QK.min(axis=1, initial=np.inf), nearest_CK.mean(axis=1)


def _largest(best_RK: Floats, more_RM: Floats) -> Floats:
    """Return the K largest of both in each row, in no order."""
    k = best_RK.shape[1]
    merged: Floats = np.partition(np.concatenate([best_RK, more_RM], axis=1), -k, axis=1)[:, -k:]
    return merged
