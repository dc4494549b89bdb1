"""Agreement, STS, intervals, and the scores of one language."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from scipy.stats import spearmanr  # type: ignore[import-untyped]

from mlembed.errors import MlembedError
from mlembed.report.agreement import cosine_to_teacher, unexplained_variance
from mlembed.report.bootstrap import Estimate, mean_estimate, mean_estimates, ratio_estimate, spearman_estimate
from mlembed.report.scores import score_parallel, score_sts
from mlembed.report.sts import spearman


def test_cosine_by_hand() -> None:
    student = np.array([[3.0, 0.0], [1.0, 1.0], [0.0, -2.0]])
    teacher = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 7.0]])
    np.testing.assert_allclose(cosine_to_teacher(student, teacher), [1.0, 0.5**0.5, -1.0])


@pytest.mark.parametrize("length", [1e-25, 1e25])
def test_cosine_of_very_short_and_long_vectors(length: float) -> None:
    vectors = np.array([[3.0, 4.0]], dtype=np.float32) * np.float32(length)
    np.testing.assert_allclose(cosine_to_teacher(vectors, np.array([[4.0, 3.0]])), [0.96], rtol=1e-6)


def test_unexplained_variance_by_hand() -> None:
    teacher = np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]])  # spread around (2, 0): 4 + 0 + 4
    assert unexplained_variance(teacher, teacher) == 0.0
    assert unexplained_variance(np.full((3, 2), [2.0, 0.0]), teacher) == 1.0
    assert unexplained_variance(teacher + [0.0, 1.0], teacher) == pytest.approx(3 / 8)
    assert math.isnan(unexplained_variance(np.zeros((3, 2)), np.ones((3, 2))))


def test_agreement_refuses_other_shapes_and_nan() -> None:
    with pytest.raises(ValueError, match="shape"):
        unexplained_variance(np.ones((3, 2)), np.ones((3, 4)))
    with pytest.raises(ValueError, match="shapes"):
        cosine_to_teacher(np.ones((3, 2)), np.ones((3, 4)))
    with pytest.raises(MlembedError, match="student vectors: 3 of 3"):
        unexplained_variance(np.full((3, 2), np.inf), np.ones((3, 2)))


def test_spearman_with_ties_by_hand() -> None:
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
    value = spearman(np.array([0.1, 0.2, 0.2, 0.9]), np.array([0.0, 1.0, 2.0, 5.0]))
    assert value == pytest.approx(4.5 / (4.5 * 5) ** 0.5)


def test_spearman_without_a_ranking_is_nan() -> None:
    rounding = 0.9 + 1e-8 * np.arange(5)  # a collapsed model: noise of rounding is no ranking
    for cosines, scores in ((rounding, np.arange(5.0)), (np.arange(5.0), np.ones(5)), (np.ones(1), np.ones(1))):
        assert math.isnan(spearman(cosines, scores))
        estimate = spearman_estimate(cosines, scores)
        assert math.isnan(estimate.value) and math.isnan(estimate.low) and estimate.count == len(cosines)
    with pytest.raises(ValueError, match="row 1"):
        spearman(np.arange(2.0), np.array([1.0, np.nan]))


def test_mean_interval_has_the_width_that_theory_gives() -> None:
    values = np.repeat([0.0, 1.0], 200)
    estimate = mean_estimate(values, seed=1)
    assert (estimate.value, estimate.count) == (0.5, 400)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * (0.25 / 400) ** 0.5, rel=0.1)
    assert estimate == mean_estimate(values, seed=1)
    assert estimate != mean_estimate(values, seed=2)


def test_mean_of_nothing_of_constants_and_without_resamples() -> None:
    assert mean_estimate(np.ones(9)) == Estimate(1.0, 1.0, 1.0, 9)
    assert math.isnan(mean_estimate(np.ones(0)).value)
    quick = mean_estimate(np.arange(5.0), resamples=0)
    assert quick.value == 2.0 and math.isnan(quick.low) and math.isnan(quick.high)
    with pytest.raises(ValueError, match="one length"):
        mean_estimates({"a": np.ones(3), "b": np.ones(4)})


def test_columns_share_their_draws() -> None:
    values = np.random.default_rng(0).random(50)
    both = mean_estimates({"a": values, "b": 1 - values})
    assert both["a"].low == pytest.approx(1 - both["b"].high)


def test_ratio_interval_resamples_rows_together() -> None:
    numerators = np.random.default_rng(0).random(50)
    estimate = ratio_estimate(numerators, 2 * numerators)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.5, 0.5, 0.5))
    assert math.isnan(ratio_estimate(numerators, np.zeros(50)).value)


def test_spearman_interval_agrees_with_the_slow_one_and_is_fast() -> None:
    generator = np.random.default_rng(0)
    cosines = generator.normal(size=1500)
    scores = np.round(cosines + generator.normal(size=1500))
    start = time.perf_counter()
    estimate = spearman_estimate(cosines, scores)
    assert time.perf_counter() - start < 2
    assert estimate.value == pytest.approx(spearmanr(cosines, scores).statistic)
    draws = [generator.integers(0, 1500, 1500) for _ in range(400)]
    slow = np.percentile([spearmanr(cosines[rows], scores[rows]).statistic for rows in draws], [2.5, 97.5])
    np.testing.assert_allclose([estimate.low, estimate.high], slow, atol=0.01)


def test_intervals_overlap_or_not() -> None:
    low, middle, high = (Estimate(v, v - 0.1, v + 0.1, 9) for v in (0.2, 0.35, 0.5))
    assert low.overlaps(middle) and middle.overlaps(high)
    assert not low.overlaps(high) and not high.overlaps(low)
    assert low.overlaps(Estimate(0.9, math.nan, math.nan, 9))


def test_scores_of_one_language_by_hand() -> None:
    source = np.eye(4, dtype=np.float32)[:3]
    target = source[[0, 1, 1]]  # the third is taken for the second
    scores = score_parallel(
        source_ND=source, target_ND=target, teacher_ND=source, source_texts=list("abc"), target_texts=list("xyz")
    )
    assert list(scores) == [
        "retrieval",
        "retrieval_to_source",
        "retrieval_from_source",
        "margin_error",
        "cosine",
        "unexplained_variance",
    ]
    assert scores["retrieval_to_source"].value == pytest.approx(2 / 3)
    # From b, y and z tie: 1/2. From c, all three tie at 0: 1/3.
    assert scores["retrieval_from_source"].value == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert scores["retrieval"].value == pytest.approx((2 / 3 + 11 / 18) / 2)
    assert scores["margin_error"].value == pytest.approx(1 / 3)
    assert scores["cosine"].value == pytest.approx(2 / 3)
    assert scores["unexplained_variance"].value == pytest.approx(2 / 2)  # error 2, spread 3 - 3 * (1/3)^2 * 3 = 2
    assert all(one.count == 3 and one.low <= one.value <= one.high for one in scores.values())


def test_scores_without_a_teacher_leave_its_metrics_out() -> None:
    vectors = np.eye(3)
    scores = score_parallel(
        source_ND=vectors, target_ND=vectors, teacher_ND=None, source_texts=list("abc"), target_texts=list("xyz")
    )
    assert list(scores) == ["retrieval", "retrieval_to_source", "retrieval_from_source", "margin_error"]
    assert scores["retrieval"].value == 1.0 and scores["margin_error"].value == 0.0


def test_duplicates_of_either_side_count_as_right() -> None:
    source = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    target = np.array([[1.0, 0.1], [1.0, 0.2], [0.0, 1.0]])
    scores = score_parallel(
        source_ND=source, target_ND=target, teacher_ND=None, source_texts=["a", "a", "b"], target_texts=["x", "y", "z"]
    )
    assert scores["retrieval"].value == 1.0


def test_sts_ranks_pairs_by_their_cosine() -> None:
    angles = np.array([0.1, 0.5, 1.0, 1.5])
    first = np.tile([2.0, 0.0], (4, 1))
    second = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert score_sts(first, second, np.array([5.0, 3.0, 2.0, 0.0])).value == pytest.approx(1.0)
    assert score_sts(first, second, np.array([0.0, 2.0, 3.0, 5.0])).value == pytest.approx(-1.0)
    assert math.isnan(score_sts(first, first, np.array([0.0, 2.0, 3.0, 5.0])).value)
