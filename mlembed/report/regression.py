"""Similarity regression: do predicted similarities of two texts agree with those that people gave."""

from __future__ import annotations

import numpy as np

from mlembed.report.bootstrap import RESAMPLES, Estimate, pearson_estimate, spearman_estimate
from mlembed.report.vectors import Floats


def score_similarity(
    predicted_N: Floats, gold_N: Floats, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """Return the correlations of predicted similarities with people's.

    Args:
        predicted_N: the similarity of each pair by the model.
        gold_N: the similarity of each pair by people, on any scale.
        seed: of the bootstrap.
        resamples: of the bootstrap; 0 leaves the intervals out.

    Returns:
        `spearman` and `pearson`; nan where a side has one value alone, or there are fewer than two pairs.

    Raises:
        ValueError: the counts differ, or a score of people is not finite.
    """
    predicted_N, gold_N = np.asarray(predicted_N, dtype=np.float64), np.asarray(gold_N, dtype=np.float64)
    return {
        "spearman": spearman_estimate(predicted_N, gold_N, seed=seed, resamples=resamples),
        "pearson": pearson_estimate(predicted_N, gold_N, seed=seed, resamples=resamples),
    }
