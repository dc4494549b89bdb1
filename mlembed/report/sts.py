"""Semantic textual similarity: does the cosine rank pairs of sentences as people do."""

from __future__ import annotations

import numpy as np
from scipy import stats

from mlembed.report.vectors import Floats

# Cosines of a collapsed model differ by rounding only; their ranks would be noise that looks like a score.
_CONSTANT = 1e-6


def spearman(cosines_N: Floats, scores_N: Floats) -> float:
    """Return Spearman's rank correlation, tied values sharing their mean rank.

    Args:
        cosines_N: the similarity of each pair of sentences by the model.
        scores_N: the similarity of each pair by people, on any scale.

    Returns:
        From -1 to 1; nan (null in JSON) where no ranking is there to compare: fewer than two pairs, all scores
        equal, or all cosines within 1e-6 as those of a collapsed model.

    Raises:
        ValueError: the counts differ, or a score is not finite.
    """
    cosines_N, scores_N = np.asarray(cosines_N, dtype=np.float64), np.asarray(scores_N, dtype=np.float64)
    if cosines_N.shape != scores_N.shape or cosines_N.ndim != 1:
        raise ValueError(f"one score for each pair: the shapes are {cosines_N.shape} and {scores_N.shape}")
    if not np.isfinite(scores_N).all():
        raise ValueError(f"row {int(np.argmin(np.isfinite(scores_N)))}: a similarity score is not a finite number")
    if not has_ranking(cosines_N, scores_N):
        return float("nan")
    return float(stats.spearmanr(cosines_N, scores_N).statistic)


def has_ranking(cosines_N: Floats, scores_N: Floats) -> bool:
    """Return whether both columns hold different values, so that a rank correlation is defined."""
    return len(cosines_N) > 1 and float(np.ptp(cosines_N)) > _CONSTANT and float(np.ptp(scores_N)) > 0.0
