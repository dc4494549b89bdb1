"""Classification: how often answers are right, by label and over all, and how far to trust their probabilities."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mlembed.report.bootstrap import RESAMPLES, Estimate, interval, resampled_sums
from mlembed.report.vectors import Floats, finite_rows

# Guo et al. 2017.
BINS = 15

_NAMES = ("macro_f1", "micro_f1", "accuracy", "calibration_error")
Labels = NDArray[np.integer]


def score_classes(
    gold_N: Labels, probabilities_NL: Floats, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """Return the metrics of texts with one label each; the answer is the most probable label.

    Macro F1 is that of scikit-learn with its defaults: the mean over the labels that occur in gold or answers. In each
    draw of the bootstrap it is over those that occur in the draw.

    Args:
        gold_N: the number of each text's label.
        probabilities_NL: the probability of each label.
        seed: of the bootstrap.
        resamples: of the bootstrap; 0 leaves the intervals out.

    Returns:
        `macro_f1`, `micro_f1`, `accuracy` and `calibration_error`; nan where there are no rows.

    Raises:
        ValueError: the shapes do not fit, or a label has no column.
        MlembedError: probabilities hold nan or infinity.
    """
    gold_N, probabilities_NL = _checked(gold_N, probabilities_NL, sides=1)
    if not len(gold_N):
        return _nothing()
    predicted_N = probabilities_NL.argmax(axis=1)
    labels_L = np.union1d(gold_N, predicted_N)
    gold_NL, predicted_NL = gold_N[:, None] == labels_L, predicted_N[:, None] == labels_L
    return _estimates(
        gold_NL,
        predicted_NL,
        calibration=[_bin_gaps(probabilities_NL.max(axis=1), predicted_N == gold_N)],
        every_label=False,
        seed=seed,
        resamples=resamples,
    )


def score_multi_label(
    gold_NL: Labels,
    probabilities_NL: Floats,
    *,
    threshold: float = 0.5,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Estimate]:
    """Return the metrics of texts with any number of labels; the answer is each label that reaches the threshold.

    `accuracy` is subset accuracy: all labels of a text must be right. Macro F1 is that of scikit-learn for such
    matrices: the mean over all labels, where one that neither occurs nor is answered counts 0.

    Args:
        gold_NL: 1 where a text has the label, else 0.
        probabilities_NL: the probability of each label, on its own.
        threshold: the probability from which a label is an answer.
        seed: of the bootstrap.
        resamples: of the bootstrap; 0 leaves the intervals out.

    Returns:
        `macro_f1`, `micro_f1`, `accuracy` and `calibration_error`; nan where there are no rows.

    Raises:
        ValueError: the shapes do not fit, or gold holds something else than 0 and 1.
        MlembedError: probabilities hold nan or infinity.
    """
    gold_NL, probabilities_NL = _checked(gold_NL, probabilities_NL, sides=2)
    if not len(gold_NL):
        return _nothing()
    return _estimates(
        gold_NL == 1,
        probabilities_NL >= threshold,
        calibration=_label_gaps(gold_NL, probabilities_NL, bins=BINS),
        every_label=True,
        seed=seed,
        resamples=resamples,
    )


def calibration_error(gold: Labels, probabilities_NL: Floats, *, bins: int = BINS) -> float:
    """Return the expected calibration error with bins of equal width (Guo et al. 2017, equation 3).

    With one label a text: the mean over the texts' bins of |how often the most probable label is right - its mean
    probability|. With several: for each label |how often it is there - its mean probability|, then the mean over the
    labels (the class-wise error of Kull et al. 2019).

    Args:
        gold: the number of each text's label, or a matrix of 0 and 1.
        probabilities_NL: the probability of each label.
        bins: the first is [0, 1 / bins], the next up to 2 / bins, and so on.

    Raises:
        ValueError: the shapes do not fit, or a label has no column.
        MlembedError: probabilities hold nan or infinity.
    """
    gold, probabilities_NL = _checked(gold, probabilities_NL)
    if not len(gold):
        return math.nan
    if gold.ndim == 2:
        gaps = _label_gaps(gold, probabilities_NL, bins=bins)
    else:
        gaps = [_bin_gaps(probabilities_NL.max(axis=1), probabilities_NL.argmax(axis=1) == gold, bins=bins)]
    return float(np.mean([np.abs(gaps_NB.sum(axis=0)).sum() for gaps_NB in gaps])) / len(gold)


def _checked(gold: Labels, probabilities_NL: Floats, *, sides: int | None = None) -> tuple[Labels, Floats]:
    gold, probabilities_NL = np.asarray(gold), finite_rows(np.asarray(probabilities_NL), what="probabilities")
    rows, labels = probabilities_NL.shape
    if gold.shape not in ((rows,), (rows, labels)) or sides not in (None, gold.ndim):
        raise ValueError(f"labels of shape {gold.shape} do not fit probabilities of shape {probabilities_NL.shape}")
    most = labels - 1 if gold.ndim == 1 else 1
    if gold.size and not (gold.min() >= 0 and gold.max() <= most):
        raise ValueError(f"labels are numbers from 0 to {most}, not {gold.min()} to {gold.max()}")
    return gold, probabilities_NL


def _nothing() -> dict[str, Estimate]:
    return {name: Estimate(math.nan, math.nan, math.nan, 0) for name in _NAMES}


def _bin_gaps(confidences_N: Floats, right_N: NDArray[np.bool_], *, bins: int = BINS) -> Floats:
    """Return probability - outcome of each row in the column of its bin, of those bins that are not empty."""
    bin_N = np.clip(np.ceil(confidences_N.astype(np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    used_B, column_N = np.unique(bin_N, return_inverse=True)
    gaps_NB = np.zeros((len(bin_N), len(used_B)))
    gaps_NB[np.arange(len(bin_N)), column_N] = confidences_N.astype(np.float64) - right_N
    return gaps_NB


def _label_gaps(gold_NL: Labels, probabilities_NL: Floats, *, bins: int) -> list[Floats]:
    return [_bin_gaps(probabilities_NL[:, at], gold_NL[:, at] == 1, bins=bins) for at in range(gold_NL.shape[1])]


def _estimates(
    gold_NL: NDArray[np.bool_],
    predicted_NL: NDArray[np.bool_],
    *,
    calibration: list[Floats],
    every_label: bool,
    seed: int,
    resamples: int,
) -> dict[str, Estimate]:
    """Return all metrics from sums over rows, which a draw of the bootstrap only weighs differently."""
    rows, labels = gold_NL.shape
    right_N1 = (gold_NL == predicted_NL).all(axis=1, keepdims=True)
    columns_NK = np.hstack([gold_NL & predicted_NL, gold_NL, predicted_NL, right_N1, *calibration]).astype(np.float64)

    def metrics(sums_RK: Floats) -> Floats:
        hits_RL, gold_RL, predicted_RL, right_R1, gaps_RB = np.split(
            sums_RK, np.cumsum([labels, labels, labels, 1]), axis=1
        )
        both_RL = gold_RL + predicted_RL
        averaged_R = np.full(len(sums_RK), labels) if every_label else (both_RL > 0).sum(axis=1)
        macro_R = _f1(hits_RL, both_RL).sum(axis=1) / averaged_R
        micro_R = _f1(hits_RL.sum(axis=1), both_RL.sum(axis=1))
        error_R = np.abs(gaps_RB).sum(axis=1) / (rows * len(calibration))
        return np.stack([macro_R, micro_R, right_R1[:, 0] / rows, error_R], axis=1)

    (values_M,) = metrics(columns_NK.sum(axis=0, keepdims=True))
    drawn_RM = metrics(resampled_sums(columns_NK, seed=seed, resamples=resamples))
    if resamples:
        # The chance in each draw adds to an absolute difference, never subtracts: without taking out the mean of what
        # it adds, the interval of a well calibrated model would lie above its value.
        drawn_RM[:, -1] = np.maximum(drawn_RM[:, -1] - drawn_RM[:, -1].mean() + values_M[-1], 0.0)
    return {name: Estimate(float(values_M[m]), *interval(drawn_RM[:, m]), rows) for m, name in enumerate(_NAMES)}


def _f1(hits: Floats, both: Floats) -> Floats:
    """Return 2 hits / (gold + answers), 0 where there are neither."""
    f1: Floats = 2 * hits / np.maximum(both, 1)
    return f1
