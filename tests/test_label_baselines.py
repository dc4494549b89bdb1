"""Baselines without a Transformer, and what lies behind the scores of labels."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from seqeval.metrics import classification_report as seqeval_report
from sklearn.metrics import classification_report, confusion_matrix

from mlembed.errors import DataError
from mlembed.report.baselines import majority, tfidf
from mlembed.report.label_details import label_details, tag_details

ANIMALS = ["die katze schnurrt", "eine kleine katze", "katzen schlafen", "der hund bellt", "ein hund", "hunde rennen"]


def test_majority_answers_with_the_most_frequent_label() -> None:
    probabilities = majority(np.array([2, 0, 2, 2]), labels=4, rows=3)
    np.testing.assert_array_equal(probabilities, np.tile([0.25, 0.0, 0.75, 0.0], (3, 1)))
    several = majority(np.array([[1, 0], [1, 1]]), labels=2, rows=1)
    np.testing.assert_array_equal(several, [[1.0, 0.5]])
    with pytest.raises(DataError, match="there are none"):
        majority(np.zeros(0, dtype=int), labels=2, rows=1)


def test_tfidf_learns_from_pieces_of_words() -> None:
    probabilities = tfidf(ANIMALS, np.array([3, 3, 3, 1, 1, 1]), ["kätzchen, katze", "viele hunde"], labels=5)
    assert probabilities.shape == (2, 5)
    assert probabilities.argmax(axis=1).tolist() == [3, 1]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert probabilities[:, [0, 2, 4]].max() == 0.0


def test_tfidf_with_several_labels_and_with_one_alone() -> None:
    gold = np.array([[1, 0, 1, 0]] * 3 + [[0, 1, 1, 0]] * 3)
    probabilities = tfidf(ANIMALS, gold, ["katze", "hund"], labels=4)
    assert probabilities[0, 0] > 0.5 > probabilities[1, 0] and probabilities[1, 1] > 0.5 > probabilities[0, 1]
    np.testing.assert_array_equal(probabilities[:, 2:], [[1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_array_equal(tfidf(ANIMALS, np.full(6, 1), ["x"], labels=2), [[0.0, 1.0]])
    assert tfidf(ANIMALS, np.full(6, 1), [], labels=2).shape == (0, 2)


def test_tfidf_without_anything_to_learn_from() -> None:
    with pytest.raises(DataError, match="there are none"):
        tfidf([], np.zeros(0, dtype=int), ["a"], labels=2)
    with pytest.raises(DataError, match="finds nothing in the 2"):
        tfidf(["", " "], np.array([0, 1]), ["a"], labels=2)
    with pytest.raises(ValueError, match="6 texts have 1 labels"):
        tfidf(ANIMALS, np.array([0]), ["a"], labels=2)


def test_details_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    names = ["accuracy", "b", "c", "never", "e|f"]
    gold, predicted = generator.choice([0, 1, 2, 4], 50), generator.choice([0, 1, 4], 50)
    details = json.loads(json.dumps(label_details(gold, predicted, names)))
    expected = classification_report(
        gold, predicted, target_names=["label accuracy", "b", "c", "e|f"], output_dict=True, zero_division=0
    )
    assert details["report"] == expected
    assert details["confusion"]["names"] == ["label accuracy", "b", "c", "e|f"]
    assert details["confusion"]["counts"] == confusion_matrix(gold, predicted).tolist()
    with pytest.raises(ValueError, match="one answer"):
        label_details(gold, predicted[:3], names)


def test_details_of_several_labels() -> None:
    gold, predicted = np.array([[1, 0, 1], [0, 0, 1]]), np.array([[1, 0, 0], [1, 0, 1]])
    details = label_details(gold, predicted, ["a", "never", "c"])
    assert "confusion" not in details
    assert list(details["report"]) == ["a", "c", "micro avg", "macro avg", "weighted avg", "samples avg"]
    assert details["report"]["a"] == {"precision": 0.5, "recall": 1.0, "f1-score": pytest.approx(2 / 3), "support": 1}


def test_details_of_tags_are_those_of_seqeval() -> None:
    gold, predicted = [["B-PER", "I-PER", "O", "B-LOC"], ["O"]], [["B-PER", "I-PER", "O", "O"], ["B-ORG"]]
    details = json.loads(json.dumps(tag_details(gold, predicted)))
    assert details["report"].keys() == {"PER", "LOC", "ORG", "micro avg", "macro avg", "weighted avg"}
    assert details["report"]["PER"] == {"precision": 1.0, "recall": 1.0, "f1-score": 1.0, "support": 1}
    assert details["report"] == seqeval_report(gold, predicted, output_dict=True, zero_division=0)
    assert tag_details([["O"]], [["B-ORG"]])["report"]["ORG"]["support"] == 0
    assert tag_details([["O"]], [["O"]]) == {"report": {}}


def test_scikit_learn_is_imported_where_it_is_used() -> None:
    modules = ("baselines", "label_details", "labels", "tags", "regression", "consistency")
    code = f"import sys, {', '.join(f'mlembed.report.{name}' for name in modules)}; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
