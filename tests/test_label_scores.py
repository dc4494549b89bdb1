"""Scores of tasks with labels, against scikit-learn, seqeval and scipy."""

from __future__ import annotations

import math
import time
import warnings
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]
from seqeval import metrics as seqeval
from sklearn.metrics import accuracy_score, f1_score

from mlembed.errors import MlembedError
from mlembed.report.consistency import consistency
from mlembed.report.labels import calibration_error, score_classes, score_multi_label
from mlembed.report.metrics import METRICS
from mlembed.report.regression import score_similarity
from mlembed.report.tags import score_tags

Array = NDArray[np.floating]


def _classes(seed: int, *, rows: int = 60, labels: int = 9) -> tuple[NDArray[np.integer], Array]:
    """Random labels of which some never occur, and probabilities that know something of them."""
    generator = np.random.default_rng(seed)
    gold = generator.integers(0, labels, rows) // 2
    scores = generator.normal(size=(rows, labels)) + 1.5 * (gold[:, None] == np.arange(labels))
    scores[:, -1] -= 9.0
    exponentials = np.exp(scores)
    return gold, exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_classes_score_as_in_scikit_learn(seed: int) -> None:
    gold, probabilities = _classes(seed)
    predicted = probabilities.argmax(axis=1)
    scores = score_classes(gold, probabilities)
    assert set(scores) <= set(METRICS)
    for name in ("macro", "micro"):
        expected = f1_score(gold, predicted, average=name, zero_division=0)
        assert scores[f"{name}_f1"].value == pytest.approx(expected, abs=1e-12)
    assert scores["accuracy"].value == accuracy_score(gold, predicted)
    assert scores["calibration_error"].value == pytest.approx(calibration_error(gold, probabilities))
    assert all(one.low <= one.value <= one.high and one.count == 60 for one in scores.values())


def test_interval_of_macro_f1_is_that_of_scikit_learn_on_drawn_rows() -> None:
    gold, probabilities = _classes(7, rows=150)
    predicted, generator = probabilities.argmax(axis=1), np.random.default_rng(0)
    draws = [generator.integers(0, 150, 150) for _ in range(120)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = [f1_score(gold[rows], predicted[rows], average="macro", zero_division=0) for rows in draws]
    estimate = score_classes(gold, probabilities)["macro_f1"]
    np.testing.assert_allclose([estimate.low, estimate.high], np.percentile(values, [2.5, 97.5]), atol=0.03)
    # The first draws are the same ones, so the values are too.
    few = score_classes(gold, probabilities, resamples=120)["macro_f1"]
    assert (few.low, few.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))


@pytest.mark.parametrize("seed", range(5))
def test_several_labels_score_as_in_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    gold = (generator.random((50, 6)) < 0.3).astype(int)
    gold[:, 4] = 0
    probabilities = np.clip(0.6 * gold + generator.random((50, 6)) * 0.6 - 0.1, 0, 1)
    probabilities[:, 4] = 0.1
    predicted = probabilities >= 0.4
    scores = score_multi_label(gold, probabilities, threshold=0.4)
    for name in ("macro", "micro"):
        expected = f1_score(gold, predicted, average=name, zero_division=0)
        assert scores[f"{name}_f1"].value == pytest.approx(expected, abs=1e-12)
    assert scores["accuracy"].value == accuracy_score(gold, predicted)
    assert scores["calibration_error"].value == pytest.approx(calibration_error(gold, probabilities))
    assert all(one.low <= one.value <= one.high for one in scores.values())


def _slow_calibration(confidences: Array, right: NDArray[np.bool_], bins: int = 15) -> float:
    """The definition of Guo et al. as its authors wrote it down: bin by bin."""
    edges, error = np.linspace(0, 1, bins + 1), 0.0
    for low, high in pairwise(edges):
        inside = (confidences > low) & (confidences <= high)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidences[inside].mean())
    return error


def test_calibration_error_is_that_of_its_authors() -> None:
    gold, probabilities = _classes(3, rows=500)
    right = probabilities.argmax(axis=1) == gold
    assert calibration_error(gold, probabilities) == pytest.approx(_slow_calibration(probabilities.max(axis=1), right))
    matrix = np.eye(9, dtype=int)[gold]
    by_label = [_slow_calibration(probabilities[:, at], matrix[:, at] == 1) for at in range(9)]
    assert calibration_error(matrix, probabilities) == pytest.approx(np.mean(by_label))
    assert calibration_error(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 1.0]])) == 0.0
    assert calibration_error(np.array([1, 1]), np.array([[0.8, 0.2], [0.8, 0.2]])) == pytest.approx(0.8)
    assert calibration_error(np.array([0, 1]), np.array([[0.8, 0.2], [0.8, 0.2]])) == pytest.approx(0.3)


def test_interval_of_a_calibrated_model_is_around_its_error() -> None:
    generator = np.random.default_rng(0)
    sure = generator.random(2000) / 2 + 0.5
    gold = (generator.random(2000) > sure).astype(int)
    estimate = score_classes(gold, np.stack([sure, 1 - sure], axis=1))["calibration_error"]
    assert 0 <= estimate.low < estimate.value < estimate.high < 0.06


def test_many_rows_and_labels_are_fast() -> None:
    generator = np.random.default_rng(0)
    gold, probabilities = generator.integers(0, 40, 3000), generator.dirichlet(np.ones(40), 3000)
    start = time.process_time()
    score_classes(gold, probabilities)
    assert time.process_time() - start < 3


def test_labels_without_rows_or_of_other_shapes() -> None:
    nothing = score_classes(np.zeros(0, dtype=int), np.zeros((0, 3)))
    assert all(math.isnan(one.value) and one.count == 0 for one in nothing.values())
    assert math.isnan(score_multi_label(np.zeros((0, 3), dtype=int), np.zeros((0, 3)))["accuracy"].value)
    quick = score_classes(*_classes(0), resamples=0)
    assert math.isnan(quick["macro_f1"].low) and not math.isnan(quick["macro_f1"].value)
    with pytest.raises(ValueError, match="do not fit"):
        score_classes(np.zeros(4, dtype=int), np.ones((3, 2)))
    with pytest.raises(ValueError, match="do not fit"):
        score_multi_label(np.zeros(3, dtype=int), np.ones((3, 2)))
    with pytest.raises(ValueError, match="from 0 to 1, not 0 to 2"):
        score_classes(np.array([0, 2]), np.ones((2, 2)))
    with pytest.raises(MlembedError, match="probabilities: 1 of 2"):
        score_classes(np.array([0, 1]), np.array([[1.0, 0.0], [np.nan, 0.0]]))


@pytest.mark.parametrize("seed", range(8))
def test_tags_score_as_in_seqeval(seed: int) -> None:
    generator = np.random.default_rng(seed)
    tags = ["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "I-ORG-X"]
    gold = [[tags[tag] for tag in generator.integers(0, 7, generator.integers(1, 9))] for _ in range(40)]
    predicted = [[word if generator.random() < 0.7 else tags[generator.integers(0, 7)] for word in row] for row in gold]
    scores = score_tags(gold, predicted)
    assert scores["span_f1"].value == pytest.approx(seqeval.f1_score(gold, predicted), abs=1e-12)
    assert scores["span_precision"].value == pytest.approx(seqeval.precision_score(gold, predicted), abs=1e-12)
    assert scores["span_recall"].value == pytest.approx(seqeval.recall_score(gold, predicted), abs=1e-12)
    assert scores["word_accuracy"].value == pytest.approx(seqeval.accuracy_score(gold, predicted), abs=1e-12)
    assert all(one.low <= one.value <= one.high and one.count == 40 for one in scores.values())
    assert set(scores) <= set(METRICS)


def test_tags_where_nothing_is_found() -> None:
    scores = score_tags([["B-PER", "I-PER"], ["O"]], [["O", "O"], ["O"]])
    assert [scores[f"span_{name}"].value for name in ("f1", "precision", "recall")] == [0.0, 0.0, 0.0]
    assert scores["word_accuracy"].value == pytest.approx(1 / 3)
    assert math.isnan(score_tags([], [])["span_f1"].value)
    with pytest.raises(ValueError, match="sentence 1 has 1 gold tags and 2"):
        score_tags([["O"], ["O"]], [["O"], ["O", "O"]])
    with pytest.raises(ValueError, match="1 sentences have gold"):
        score_tags([["O"]], [])


def test_similarity_scores_as_in_scipy() -> None:
    generator = np.random.default_rng(0)
    gold = generator.integers(0, 6, 800).astype(float)
    predicted = 1000 + 0.01 * (gold + generator.normal(size=800) * 2)
    scores = score_similarity(predicted, gold)
    assert scores["pearson"].value == pytest.approx(stats.pearsonr(predicted, gold).statistic)
    assert scores["spearman"].value == pytest.approx(stats.spearmanr(predicted, gold).statistic)
    draws = [generator.integers(0, 800, 800) for _ in range(400)]
    slow = np.percentile([stats.pearsonr(predicted[rows], gold[rows]).statistic for rows in draws], [2.5, 97.5])
    np.testing.assert_allclose([scores["pearson"].low, scores["pearson"].high], slow, atol=0.01)
    assert all(math.isnan(one.value) for one in score_similarity(np.ones(5), np.arange(5.0)).values())


def test_consistency_counts_the_ids_that_the_source_has() -> None:
    answers = {
        "en": {"1": 0, "2": 1, "3": 2},
        "de": {"1": 0, "2": 1, "3": 0, "only": 7},
        "hi": {"1": (1, 2), "2": 1},
        "ja": {"else": 0},
    }
    scores = consistency(answers, source_language="en")
    assert list(scores) == ["de", "hi"]
    assert (scores["de"].value, scores["de"].count) == (pytest.approx(2 / 3), 3)
    assert (scores["hi"].value, scores["hi"].count) == (0.5, 2)
    assert consistency({"de": {"1": 0}}, source_language="en") == {}
