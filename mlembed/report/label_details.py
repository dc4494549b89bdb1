"""What lies behind the scores of a language: each label with its precision and recall, and what is taken for what."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Names that scikit-learn and seqeval give to lines of their own.
AVERAGES = ("accuracy", "micro avg", "macro avg", "weighted avg", "samples avg")


def label_details(
    gold_N: NDArray[np.integer], predicted_N: NDArray[np.integer], names: Sequence[str]
) -> dict[str, Any]:
    """Return scikit-learn's classification report and confusion matrix of the labels that occur, for JSON.

    Args:
        gold_N: the number of each text's label, or a matrix of 0 and 1 where texts have several.
        predicted_N: the answers, of the same shape.
        names: the name of each label.

    Returns:
        `report`: name -> `precision`, `recall`, `f1-score`, `support`, and scikit-learn's averages; `confusion` with
        `names` and `counts` (a row for each gold label, a column for each answer), where texts have one label.

    Raises:
        ValueError: the shapes differ, or there are no rows.
    """
    from sklearn.metrics import classification_report, confusion_matrix

    gold_N, predicted_N = np.asarray(gold_N), np.asarray(predicted_N)
    if gold_N.shape != predicted_N.shape or not len(gold_N):
        raise ValueError(f"one answer for each label is needed: {gold_N.shape} and {predicted_N.shape}")
    occurring = (
        np.flatnonzero((gold_N + predicted_N).any(axis=0)) if gold_N.ndim == 2 else np.union1d(gold_N, predicted_N)
    )
    shown = [_told_apart(names[int(label)]) for label in occurring]
    report = classification_report(
        gold_N, predicted_N, labels=occurring, target_names=shown, output_dict=True, zero_division=0
    )
    details = {"report": _plain(report)}
    if gold_N.ndim == 1:
        counts = confusion_matrix(gold_N, predicted_N, labels=occurring)
        details["confusion"] = {"names": shown, "counts": counts.tolist()}
    return details


def tag_details(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return seqeval's classification report of tagged sentences, for JSON.

    Args:
        gold: the tags of the words of each sentence.
        predicted: the tags found, as many for each sentence.

    Returns:
        `report`: type of span -> `precision`, `recall`, `f1-score`, `support`, and seqeval's averages; empty where
        there are no spans at all.

    Raises:
        ValueError: the counts differ.
    """
    from seqeval.metrics import classification_report
    from seqeval.metrics.sequence_labeling import get_entities

    gold, predicted = [list(words) for words in gold], [list(words) for words in predicted]
    if not get_entities(gold) and not get_entities(predicted):
        return {"report": {}}
    with warnings.catch_warnings():
        # numpy's, of an average over a type that nobody has; the value is the 0 that is asked for.
        warnings.simplefilter("ignore", RuntimeWarning)
        report = classification_report(gold, predicted, output_dict=True, zero_division=0)
    return {"report": _plain(report)}


def _told_apart(name: str) -> str:
    return f"label {name}" if name in AVERAGES else name


def _plain(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report with the numbers of Python instead of numpy's."""
    return {
        name: {key: int(one) if key == "support" else float(one) for key, one in row.items()}
        if isinstance(row, dict)
        else float(row)
        for name, row in report.items()
    }
