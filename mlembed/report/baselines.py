"""What is reached without a Transformer: the answers that a student must beat to be worth its weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlembed.errors import DataError
from mlembed.report.vectors import Floats

# The most frequent n-grams: with forty labels a million of them would take gigabytes in the solver.
_MOST_NGRAMS = 50_000
_MOST_STEPS = 1000
# A hundred rows a label leave thousands of rare n-grams, which the usual 1.0 holds down: 58 % against 69 to 73 on news.
_WEAK_PENALTY = 30.0


def majority(train_labels_N: NDArray[np.integer], *, labels: int, rows: int) -> Floats:
    """Return the frequencies of the labels in the training data for every row: the most frequent one is the answer.

    Args:
        train_labels_N: the number of each text's label, or a matrix of 0 and 1 where texts have several.
        labels: the count of all labels.
        rows: the texts to answer for.

    Raises:
        DataError: no training data.
    """
    shares_L = _indicators(train_labels_N, labels=labels).mean(axis=0)
    return np.tile(shares_L, (rows, 1))


def tfidf(
    train_texts: Sequence[str], train_labels_N: NDArray[np.integer], test_texts: Sequence[str], *, labels: int
) -> Floats:
    """Return probabilities by logistic regression on TF-IDF of character n-grams, by scikit-learn.

    Characters rather than words, as it must work in every script: n-grams of 2 to 5 within words, the 50,000 most
    frequent, logarithmic counts. It learns from gold labels of the tested language, which a student does not see.

    Args:
        train_texts: texts of the language.
        train_labels_N: the number of each text's label, or a matrix of 0 and 1 (one regression for each label).
        test_texts: the texts to answer for.
        labels: the count of all labels; those without training data have the probability 0.

    Raises:
        DataError: no training data, or no n-gram in it.
        ValueError: the counts of texts and labels differ.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(train_texts) != len(train_labels_N):
        raise ValueError(f"{len(train_texts)} texts have {len(train_labels_N)} labels")
    gold_NL = _indicators(train_labels_N, labels=labels)
    if not test_texts:
        return np.zeros((0, labels))
    vectorizer = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, max_features=_MOST_NGRAMS, dtype=np.float64
    )
    try:
        train, test = vectorizer.fit_transform(train_texts), vectorizer.transform(test_texts)
    except ValueError as error:
        raise DataError(f"TF-IDF finds nothing in the {len(train_texts)} training texts: {error}.") from error
    train_labels_N = np.asarray(train_labels_N)
    if train_labels_N.ndim == 1:
        probabilities_NL = np.zeros((len(test_texts), labels))
        present, answers = _regression(train, train_labels_N, test)
        probabilities_NL[:, present] = answers
        return probabilities_NL
    return np.stack([_one_label(train, gold_NL[:, at], test) for at in range(labels)], axis=1)


def _indicators(labels_N: NDArray[np.integer], *, labels: int) -> Floats:
    """Return a matrix of 0 and 1, from numbers or from such a matrix."""
    labels_N = np.asarray(labels_N)
    if not len(labels_N):
        raise DataError("A baseline needs training rows with labels; there are none.")
    matrix_NL = labels_N if labels_N.ndim == 2 else labels_N[:, None] == np.arange(labels)
    return matrix_NL.astype(np.float64)


def _regression(train: Any, labels_N: NDArray[np.integer], test: Any) -> tuple[NDArray[np.integer], Floats]:
    """Return the labels that occur and the probability of each; one that is alone is certain."""
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels_N)
    if len(present) == 1:
        return present, np.ones((test.shape[0], 1))
    answers: Floats = LogisticRegression(C=_WEAK_PENALTY, max_iter=_MOST_STEPS).fit(train, labels_N).predict_proba(test)
    return present, answers


def _one_label(train: Any, has_N: Floats, test: Any) -> Floats:
    present, answers = _regression(train, has_N.astype(np.int64), test)
    positive_N: Floats = answers[:, -1] if 1 in present else np.zeros(test.shape[0])
    return positive_N
