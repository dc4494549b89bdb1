"""Tasks with labels: answers as numbers, losses, draws, and what is made of logits."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from labels import example
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from mlembed.data.examples import Example, LabelSet
from mlembed.data.label_plan import LabelPlan
from mlembed.inputs import Inputs
from mlembed.tasks.classification import Classification
from mlembed.tasks.token_classification import TokenClassification
from mlembed.tokens import TokenTable

ONE = [example("x", label) for label in "cabaacaa"]
MANY = [example("x", labels) for labels in (("b", "a"), (), ("a",), ("c", "a"), ("a", "b"), ("a",))]
LABELS = LabelSet(("a", "b", "c"))
TAGS = LabelSet(("O", "B-LOC", "I-LOC", "B-PER", "I-PER"))
TAGGED = [
    example(("Anna", "sees", "Kestrel", "Bay"), ("B-PER", "O", "B-LOC", "I-LOC")),
    example(("red",), ("O",)),
    example(("the", "Bay"), ("O", "B-LOC")),
]


def classification(
    train: list[Example], *, weights: bool = False, sampling: bool = False, smoothing: float = 0.0
) -> Classification:
    return Classification(
        LABELS,
        several=isinstance(train[0].answer, tuple),
        train=train,
        balanced_weights=weights,
        balanced_sampling=sampling,
        smoothing=smoothing,
    )


def logits(rows: int, labels: int, *, seed: int = 0) -> Tensor:
    return torch.randn(rows, labels, generator=torch.Generator().manual_seed(seed))


def test_answers_are_numbers() -> None:
    assert classification(ONE).answers(ONE).tolist() == [2, 0, 1, 0, 0, 2, 0, 0]
    assert classification(MANY).answers(MANY).tolist() == [
        [1, 1, 0],
        [0, 0, 0],
        [1, 0, 0],
        [1, 0, 1],
        [1, 1, 0],
        [1, 0, 0],
    ]
    for task, rows in ((classification(ONE), ONE), (classification(MANY), MANY)):
        assert task.answers(rows).dtype == np.int64 and len(task.answers([])) == 0
        assert task.head.labels == LABELS.names


def test_weights_of_labels_are_those_of_scikit_learn() -> None:
    task = classification(ONE, weights=True)
    answers = task.answers(ONE)
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=answers)
    np.testing.assert_allclose(task.class_weights_L, wanted)
    assert classification(ONE).class_weights_L is None
    logits_ML, answers_M = logits(8, 3), torch.from_numpy(answers)
    plain_M = F.cross_entropy(logits_ML, answers_M, weight=torch.from_numpy(wanted).float(), reduction="none")
    torch.testing.assert_close(task.loss(logits_ML, answers_M), plain_M)
    # Balanced: if all rows cost the same, each label costs the same in all.
    np.testing.assert_allclose(np.bincount(answers, wanted[answers]), len(ONE) / 3)


def test_a_label_that_training_does_not_have_is_no_division_by_zero() -> None:
    rows = [example("x", "a"), example("x", "a")]
    task = classification(rows, weights=True, sampling=True)
    assert task.class_weights_L is not None and np.isfinite(task.class_weights_L).all()
    assert task.draws(rows) is not None and np.isfinite(np.asarray(task.draws(rows))).all()


def test_weights_of_several_labels_are_those_of_given_ones() -> None:
    task = classification(MANY, weights=True)
    np.testing.assert_allclose(task.class_weights_L, [6 / (3 * 5), 6 / (3 * 2), 6 / (3 * 1)])
    logits_ML, answers_ML = logits(6, 3), torch.from_numpy(task.answers(MANY))
    cost_ML = F.binary_cross_entropy_with_logits(logits_ML, answers_ML.float(), reduction="none")
    weight_ML = torch.where(answers_ML > 0, torch.from_numpy(task.class_weights_L).float(), torch.ones(1))
    torch.testing.assert_close(task.loss(logits_ML, answers_ML), (cost_ML * weight_ML).mean(dim=1))


def test_smoothing_reaches_the_loss() -> None:
    logits_ML, answers_M = logits(8, 3), torch.from_numpy(classification(ONE).answers(ONE))
    smooth_M = classification(ONE, smoothing=0.1).loss(logits_ML, answers_M)
    torch.testing.assert_close(smooth_M, F.cross_entropy(logits_ML, answers_M, label_smoothing=0.1, reduction="none"))
    assert (smooth_M - classification(ONE).loss(logits_ML, answers_M)).abs().max() > 0


def test_balanced_sampling_draws_all_labels_equally_often() -> None:
    assert classification(ONE).draws(ONE) is None
    task = classification(ONE, sampling=True)
    draws_N = task.draws(ONE)
    assert draws_N is not None
    np.testing.assert_allclose(np.bincount(task.answers(ONE), draws_N), [1.0, 1.0, 1.0])
    tokens = TokenTable(np.ones(8, dtype=np.int32), np.arange(9), pad_id=0)
    plan = LabelPlan(Inputs(tokens), places=[""] * 8, batch_tokens=4, seed=0, draws_N=draws_N)
    drawn = np.concatenate([np.concatenate(plan.epoch(epoch)) for epoch in range(600)])
    np.testing.assert_allclose(np.bincount(task.answers(ONE)[drawn]) / len(drawn), 1 / 3, atol=0.02)


def test_a_row_with_several_labels_is_drawn_for_its_rarest_one() -> None:
    draws_N = classification(MANY, sampling=True).draws(MANY)
    assert draws_N is not None
    np.testing.assert_allclose(draws_N, [1 / 2, 1 / 5, 1 / 5, 1, 1 / 2, 1 / 5])


def test_one_label_is_chosen_and_described() -> None:
    task = classification(ONE)
    logits_AL = 5 * F.one_hot(torch.from_numpy(task.answers(ONE)), 3).float().numpy()
    logits_AL[0] = [0.0, 0.0, 1.0]
    logits_AL[1] = [0.0, 3.0, 1.0]
    probabilities_AL = task.probabilities(logits_AL)
    np.testing.assert_allclose(probabilities_AL.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(probabilities_AL[0], np.exp([0, 0, 1]) / (2 + math.e), rtol=1e-6)
    assert task.choices(ONE, probabilities_AL) == list("cbbaacaa")
    assert task.score(ONE, probabilities_AL, seed=0, resamples=0)["accuracy"].value == 7 / 8
    details = json.loads(json.dumps(task.details(ONE, probabilities_AL)))
    assert details["confusion"]["counts"] == [[4, 1, 0], [0, 1, 0], [0, 0, 2]]


def test_several_labels_are_chosen_and_described() -> None:
    task = classification(MANY)
    logits_AL = np.where(task.answers(MANY) > 0, 2.0, -2.0).astype(np.float32)
    probabilities_AL = task.probabilities(logits_AL)
    np.testing.assert_allclose(probabilities_AL[0], [0.8807971, 0.8807971, 0.1192029], rtol=1e-5)
    assert task.choices(MANY, probabilities_AL) == [("a", "b"), (), ("a",), ("a", "c"), ("a", "b"), ("a",)]
    assert task.choices(MANY[:1], np.array([[0.5, 0.49, 0.51]])) == [("a", "c")], "as likely as not is given"
    scores = task.score(MANY, probabilities_AL, seed=0, resamples=0)
    assert min(score.value for name, score in scores.items() if name.endswith("f1")) == 1.0
    details = json.loads(json.dumps(task.details(MANY, probabilities_AL)))
    assert details["report"]["a"]["support"] == 5


def tagger(*, smoothing: float = 0.0) -> TokenClassification:
    return TokenClassification(TAGS, smoothing=smoothing)


def test_tags_of_all_words_stand_one_after_another() -> None:
    assert tagger().answers(TAGGED).tolist() == [3, 0, 1, 2, 0, 0, 1]
    assert tagger().head.of == "words" and tagger().draws(TAGGED) is None
    logits_ML, answers_M = logits(7, 5), torch.from_numpy(tagger().answers(TAGGED))
    for smoothing in (0.0, 0.2):
        plain_M = F.cross_entropy(logits_ML, answers_M, label_smoothing=smoothing, reduction="none")
        torch.testing.assert_close(tagger(smoothing=smoothing).loss(logits_ML, answers_M), plain_M)
    with pytest.raises(AssertionError):
        TokenClassification(LabelSet(("B-PER", "O")), smoothing=0.0)


def test_a_word_that_was_not_read_is_outside_of_all_names() -> None:
    logits_AL = logits(7, 5).numpy()
    logits_AL[3] = np.nan
    probabilities_AL = tagger().probabilities(logits_AL)
    assert probabilities_AL[3].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    others = np.delete(np.arange(7), 3)
    wanted = torch.from_numpy(logits_AL[others]).softmax(dim=1).numpy()
    np.testing.assert_array_equal(probabilities_AL[others], wanted)


def test_tags_are_chosen_row_by_row_and_described() -> None:
    task = tagger()
    probabilities_AL = np.eye(5)[task.answers(TAGGED)]
    assert task.choices(TAGGED, probabilities_AL) == [one.labels for one in TAGGED]
    assert task.score(TAGGED, probabilities_AL, seed=0, resamples=0)["span_f1"].value == 1.0
    probabilities_AL[3] = np.eye(5)[0]  # "Kestrel" alone
    assert task.choices(TAGGED, probabilities_AL)[0] == ("B-PER", "O", "B-LOC", "O")
    assert task.score(TAGGED, probabilities_AL, seed=0, resamples=0)["span_f1"].value == pytest.approx(2 / 3)
    report = json.loads(json.dumps(task.details(TAGGED, probabilities_AL)))["report"]
    assert (report["PER"]["f1-score"], report["LOC"]["f1-score"]) == (1.0, 0.5)
