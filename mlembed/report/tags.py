"""Tagging: which spans of the text were found, with exactly their bounds and type."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mlembed.report.bootstrap import RESAMPLES, Estimate, interval, ratio_estimate, resampled_sums
from mlembed.report.vectors import Floats

Tags = Sequence[Sequence[str]]


def score_tags(gold: Tags, predicted: Tags, *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Estimate]:
    """Return the metrics of tagged sentences; the bootstrap draws sentences.

    Values are the micro averages of seqeval in its default mode, which is that of conlleval (Tjong Kim Sang and
    Buchholz 2000): an `I-` after another type begins a span. As there, what divides by zero is 0.

    Args:
        gold: the tags of the words of each sentence: `O`, `B-type`, `I-type`.
        predicted: the tags found, as many for each sentence.
        seed: of the bootstrap.
        resamples: of the bootstrap; 0 leaves the intervals out.

    Returns:
        `span_f1`, `span_precision`, `span_recall`, and `word_accuracy`; their count is that of the sentences, and they
        are nan where there are none.

    Raises:
        ValueError: the counts of sentences, or of words in a sentence, differ.
    """
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} sentences have gold tags, {len(predicted)} predicted ones")
    for at, (gold_words, predicted_words) in enumerate(zip(gold, predicted, strict=True)):
        if len(gold_words) != len(predicted_words):
            raise ValueError(f"sentence {at} has {len(gold_words)} gold tags and {len(predicted_words)} predicted ones")
    count = len(gold)
    if not count:
        nothing = Estimate(math.nan, math.nan, math.nan, 0)
        return dict.fromkeys(("span_f1", "span_precision", "span_recall", "word_accuracy"), nothing)
    sums_N3 = _span_counts(gold, predicted)
    values_13 = _span_metrics(sums_N3.sum(axis=0, keepdims=True))
    drawn_R3 = _span_metrics(resampled_sums(sums_N3, seed=seed, resamples=resamples))
    estimates = {
        name: Estimate(float(values_13[0, m]), *interval(drawn_R3[:, m]), count)
        for m, name in enumerate(("span_f1", "span_precision", "span_recall"))
    }
    hits_N = np.array([sum(map(str.__eq__, *pair)) for pair in zip(gold, predicted, strict=True)])
    words_N = np.array([len(words) for words in gold])
    estimates["word_accuracy"] = ratio_estimate(hits_N, words_N, seed=seed, resamples=resamples)
    return estimates


def _span_counts(gold: Tags, predicted: Tags) -> Floats:
    """Return for each sentence how many spans were rightly found, found, and there to find."""
    # Here, because it imports scikit-learn, which takes a second.
    from seqeval.metrics.sequence_labeling import get_entities

    rows = []
    for gold_words, predicted_words in zip(gold, predicted, strict=True):
        there, found = set(get_entities(list(gold_words))), set(get_entities(list(predicted_words)))
        rows.append((len(there & found), len(found), len(there)))
    return np.array(rows, dtype=np.float64)


def _span_metrics(sums_R3: Floats) -> Floats:
    """Return F1, precision and recall of each row of sums."""
    hits_R, found_R, there_R = sums_R3.T
    f1_R, precision_R, recall_R = (
        2 * hits_R / np.maximum(found_R + there_R, 1),
        hits_R / np.maximum(found_R, 1),
        (hits_R / np.maximum(there_R, 1)),
    )
    return np.stack([f1_R, precision_R, recall_R], axis=1)
