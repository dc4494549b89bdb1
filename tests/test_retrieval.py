"""Retrieval and margin error: hand-computed values, ties, duplicates, and blocks."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from mlembed.errors import MlembedError
from mlembed.report.retrieval import margin_error, retrieval_hits


def _random_pairs(count: int, *, noise: float = 1.0, width: int = 16) -> tuple[np.ndarray, np.ndarray, list[str]]:
    generator = np.random.default_rng(3)
    queries = generator.normal(size=(count, width)).astype(np.float32)
    candidates = queries + noise * generator.normal(size=(count, width)).astype(np.float32)
    return queries, candidates, [f"text {i}" for i in range(count)]


def test_hits_by_hand_whatever_the_lengths() -> None:
    queries = np.array([[2.0, 0.0], [0.0, 0.1], [1.0, 0.9]])
    candidates = np.array([[5.0, 1.0], [0.1, 1.0], [-1.0, -1.0]])
    hits = retrieval_hits(queries, candidates, gold_N=np.array([0, 1, 2]), candidate_texts=["a", "b", "c"])
    assert hits.tolist() == [1.0, 1.0, 0.0]


def test_gold_points_into_candidates_that_are_more_than_the_queries() -> None:
    queries, candidates = np.array([[0.0, 1.0]]), np.eye(2)
    assert retrieval_hits(queries, candidates, gold_N=np.array([1]), candidate_texts=["a", "b"]).tolist() == [1.0]
    assert retrieval_hits(queries, candidates, gold_N=np.array([0]), candidate_texts=["a", "b"]).tolist() == [0.0]


@pytest.mark.parametrize("chunk_size", [1, 7, 64])
def test_blocks_change_nothing(chunk_size: int) -> None:
    queries, candidates, texts = _random_pairs(60)
    candidates[10:14] = candidates[9]  # ties, across blocks as well
    texts[20] = texts[50]
    gold = np.arange(60)
    whole = retrieval_hits(queries, candidates, gold_N=gold, candidate_texts=texts, chunk_size=1000)
    parts = retrieval_hits(queries, candidates, gold_N=gold, candidate_texts=texts, chunk_size=chunk_size)
    assert 0.3 < whole.mean() < 0.95
    np.testing.assert_array_equal(whole, parts)
    whole = margin_error(queries, candidates, candidate_texts=texts, chunk_size=1000)
    parts = margin_error(queries, candidates, candidate_texts=texts, chunk_size=chunk_size)
    np.testing.assert_array_equal(whole, parts)


def test_agrees_with_the_whole_matrix() -> None:
    queries, candidates, texts = _random_pairs(200)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, candidates)]
    expected = (unit[0] @ unit[1].T).argmax(axis=1) == np.arange(200)
    hits = retrieval_hits(queries, candidates, gold_N=np.arange(200), candidate_texts=texts, chunk_size=33)
    np.testing.assert_array_equal(hits, expected)


def test_duplicate_candidates_are_one_text() -> None:
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    hits = retrieval_hits(vectors, vectors, gold_N=np.arange(3), candidate_texts=["OK", "OK", "no"])
    assert hits.tolist() == [1.0, 1.0, 1.0]
    assert margin_error(vectors, vectors, candidate_texts=["OK", "OK", "no"], k=1).tolist() == [0.0, 0.0, 0.0]


def test_a_query_with_two_translations_may_find_either() -> None:
    queries, candidates = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.9, 0.4]])
    texts, gold = ["offen", "öffnen"], np.arange(2)
    strict = retrieval_hits(queries, candidates, gold_N=gold, candidate_texts=texts)
    shared = retrieval_hits(queries, candidates, gold_N=gold, candidate_texts=texts, query_texts=["open", "open"])
    assert strict.tolist() == [1.0, 0.0]
    assert shared.tolist() == [1.0, 1.0]


def test_a_tie_is_shared_between_the_texts_that_tie() -> None:
    queries = np.array([[1.0, 0.0]])
    candidates = np.array([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    texts = ["a", "a", "b", "c"]
    for gold, expected in ((0, 0.5), (1, 0.5), (2, 0.5), (3, 0.0)):
        assert retrieval_hits(queries, candidates, gold_N=np.array([gold]), candidate_texts=texts).tolist() == [
            expected
        ]


@pytest.mark.parametrize("width", [3, 384, 2048])
def test_a_collapsed_model_scores_one_in_many(width: int) -> None:
    vectors = np.tile(np.random.default_rng(0).normal(size=(1, width)).astype(np.float32), (301, 1))
    texts = [str(i) for i in range(301)]
    hits = retrieval_hits(vectors, vectors, gold_N=np.arange(301), candidate_texts=texts, chunk_size=37)
    np.testing.assert_allclose(hits, 1 / 301)
    np.testing.assert_allclose(margin_error(vectors, vectors, candidate_texts=texts, chunk_size=37), 300 / 301)


def test_vectors_of_zeros_tie_with_everything() -> None:
    zeros = np.zeros((4, 3), dtype=np.float16)
    assert retrieval_hits(zeros, zeros, gold_N=np.arange(4), candidate_texts=list("abcd")).tolist() == [0.25] * 4
    assert margin_error(zeros, zeros, candidate_texts=list("abcd")).tolist() == [0.75] * 4


def test_margin_by_hand_where_the_nearest_is_wrong() -> None:
    # Cosines [[.45, .10], [.35, .30]]: query 1 is nearer to candidate 0, which is near to everything.
    queries = np.eye(4)[:2]
    candidates = np.array([[0.45, 0.35, 0.675**0.5, 0.0], [0.1, 0.3, 0.0, 0.9**0.5]])
    assert retrieval_hits(queries, candidates, gold_N=np.arange(2), candidate_texts=["a", "b"]).tolist() == [1.0, 0.0]
    # k=2, query 1: .35 / ((.325 + .40) / 2) = .966 < .30 / ((.325 + .20) / 2) = 1.143
    assert margin_error(queries, candidates, candidate_texts=["a", "b"], k=2).tolist() == [0.0, 0.0]
    # k=1: only the nearest candidate is looked at, as in xsim.
    assert margin_error(queries, candidates, candidate_texts=["a", "b"], k=1).tolist() == [0.0, 1.0]


def test_margin_agrees_with_xsim_written_as_a_loop() -> None:
    queries, candidates, texts = _random_pairs(80, noise=1.3)
    cosines = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        candidates / np.linalg.norm(candidates, axis=1, keepdims=True)
    ).T
    expected = []
    for i in range(80):
        nearest = np.argsort(-cosines[i])[:4]
        around = cosines[i, nearest].mean()
        margins = [cosines[i, j] / ((around + np.sort(cosines[:, j])[-4:].mean()) / 2) for j in nearest]
        expected.append(float(nearest[int(np.argmax(margins))] != i))
    errors = margin_error(queries, candidates, candidate_texts=texts, chunk_size=19)
    assert 0.1 < errors.mean() < 0.9
    np.testing.assert_array_equal(errors, expected)


def test_memory_stays_far_below_the_whole_matrix() -> None:
    queries, candidates, texts = _random_pairs(3000, width=8)
    tracemalloc.start()
    retrieval_hits(queries, candidates, gold_N=np.arange(3000), candidate_texts=texts, chunk_size=100)
    margin_error(queries, candidates, candidate_texts=texts, chunk_size=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 3000 * 4 / 8


def test_broken_vectors_are_named_and_counts_must_fit() -> None:
    vectors = np.eye(3)
    broken = vectors.copy()
    broken[1, 2] = np.nan
    with pytest.raises(
        MlembedError, match=r"query vectors: 1 of 3 vectors hold nan or infinity \(the first is row 1\)"
    ):
        retrieval_hits(broken, vectors, gold_N=np.arange(3), candidate_texts=list("abc"))
    with pytest.raises(ValueError, match="2 texts"):
        retrieval_hits(vectors, vectors, gold_N=np.arange(3), candidate_texts=list("ab"))
    with pytest.raises(ValueError, match="differ in width"):
        retrieval_hits(vectors, vectors[:, :2], gold_N=np.arange(3), candidate_texts=list("abc"))
    with pytest.raises(ValueError, match="k=0"):
        margin_error(vectors, vectors, candidate_texts=list("abc"), k=0)
