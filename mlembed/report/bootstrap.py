"""95 % intervals by the percentile bootstrap (Efron 1979), from values by row."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy import stats

# Also found here, beside what makes it.
from mlembed.report.estimate import Estimate as Estimate
from mlembed.report.sts import has_ranking, spearman
from mlembed.report.vectors import Floats

RESAMPLES = 1000
_PERCENTILES = (2.5, 97.5)
# Resamples are drawn in parts of about this many numbers: 32 MB of counts.
_PART = 4_000_000


def mean_estimates(columns: Mapping[str, Floats], *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Estimate]:
    """Return the mean of each column; rows are drawn once for all columns, as one row's values belong together.

    Args:
        columns: values by row under a name each, all of shape (rows,).
        seed: the same seed gives the same intervals.
        resamples: draws; 0 leaves the intervals out (nan).

    Raises:
        ValueError: the columns differ in length.
    """
    if not columns:
        return {}
    if len({len(values_N) for values_N in columns.values()}) != 1:
        lengths = {name: len(values_N) for name, values_N in columns.items()}
        raise ValueError(f"columns of one length are needed, not {lengths}")
    values_NK = np.stack([np.asarray(values_N, dtype=np.float64) for values_N in columns.values()], axis=1)
    count = len(values_NK)
    if count == 0:
        return {name: Estimate(math.nan, math.nan, math.nan, 0) for name in columns}
    means_K = values_NK.mean(axis=0)
    drawn_RK = resampled_sums(values_NK, seed=seed, resamples=resamples) / count
    return {name: Estimate(float(means_K[k]), *interval(drawn_RK[:, k]), count) for k, name in enumerate(columns)}


def mean_estimate(values_N: Floats, *, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Return the mean of values by row; see `mean_estimates`."""
    return mean_estimates({"value": values_N}, seed=seed, resamples=resamples)["value"]


def ratio_estimate(
    numerators_N: Floats, denominators_N: Floats, *, seed: int = 0, resamples: int = RESAMPLES
) -> Estimate:
    """Return sum(numerators) / sum(denominators), rows resampled together; nan where the denominators sum to 0.

    Args:
        numerators_N: values by row.
        denominators_N: values by row, none below 0.
        seed: the same seed gives the same interval.
        resamples: draws; 0 leaves the interval out (nan).
    """
    columns_N2 = np.stack([numerators_N, denominators_N], axis=1).astype(np.float64)
    total = columns_N2.sum(axis=0)
    if not total[1] > 0:
        return Estimate(math.nan, math.nan, math.nan, len(columns_N2))
    drawn_R2 = resampled_sums(columns_N2, seed=seed, resamples=resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios_R = drawn_R2[:, 0] / drawn_R2[:, 1]
    return Estimate(float(total[0] / total[1]), *interval(ratios_R), len(columns_N2))


def spearman_estimate(cosines_N: Floats, scores_N: Floats, *, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Return Spearman's correlation of pairs; the interval resamples pairs with the ranks they have in all rows.

    The value is exact. For the interval the ranks are taken once and Pearson's correlation of the drawn ranks is
    computed, rather than new ranks for each draw: at 200 rows and more the ends agree to about 0.005, and a
    thousand draws cost a few matrix products.

    Args:
        cosines_N: the similarity of each pair by the model.
        scores_N: the similarity of each pair by people.
        seed: the same seed gives the same interval.
        resamples: draws; 0 leaves the interval out (nan).

    Returns:
        The estimate; all nan where `spearman` is.

    Raises:
        ValueError: the counts differ, or a score is not finite.
    """
    value = spearman(cosines_N, scores_N)
    count = len(cosines_N)
    if not has_ranking(cosines_N, scores_N):
        return Estimate(math.nan, math.nan, math.nan, count)
    x_N, y_N = (stats.rankdata(values_N) / count - 0.5 for values_N in (cosines_N, scores_N))
    return Estimate(value, *interval(_drawn_correlations(x_N, y_N, seed=seed, resamples=resamples)), count)


def pearson_estimate(predicted_N: Floats, scores_N: Floats, *, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Return Pearson's correlation of pairs, and its interval over the pairs.

    Args:
        predicted_N: the similarity of each pair by the model.
        scores_N: the similarity of each pair by people.
        seed: the same seed gives the same interval.
        resamples: draws; 0 leaves the interval out (nan).

    Returns:
        The estimate; all nan where `spearman` is.

    Raises:
        ValueError: the counts differ, or a score is not finite.
    """
    count = len(predicted_N)
    if math.isnan(spearman(predicted_N, scores_N)):
        return Estimate(math.nan, math.nan, math.nan, count)
    # Centered and scaled first: sums of squares of numbers far from zero lose the digits that differ.
    x_N, y_N = (stats.zscore(np.asarray(values_N, dtype=np.float64)) for values_N in (predicted_N, scores_N))
    drawn_R = _drawn_correlations(x_N, y_N, seed=seed, resamples=resamples)
    return Estimate(float(np.clip((x_N * y_N).mean(), -1.0, 1.0)), *interval(drawn_R), count)


def _drawn_correlations(x_N: Floats, y_N: Floats, *, seed: int, resamples: int) -> Floats:
    """Return Pearson's correlation of two columns in each draw of their rows; nan where a draw has one value alone."""
    columns_N5 = np.stack([x_N, y_N, x_N * x_N, y_N * y_N, x_N * y_N], axis=1)
    x, y, xx, yy, xy = resampled_sums(columns_N5, seed=seed, resamples=resamples).T / len(x_N)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn_R: Floats = (xy - x * y) / np.sqrt((xx - x * x) * (yy - y * y))
    return drawn_R


def resampled_sums(columns_NK: Floats, *, seed: int, resamples: int) -> Floats:
    """Return the sums of the columns over rows drawn with replacement, shape (resamples, columns).

    Args:
        columns_NK: values by row, at least one row.
        seed: the same seed draws the same rows.
        resamples: draws; none give no rows.
    """
    count = len(columns_NK)
    generator = np.random.default_rng(seed)
    sums_RK = np.empty((resamples, columns_NK.shape[1]))
    step = max(1, _PART // max(count, 1))
    for start in range(0, resamples, step):
        draws = min(step, resamples - start)
        rows = generator.integers(0, count, size=(draws, count))
        rows += np.arange(draws)[:, None] * count
        counts = np.bincount(rows.ravel(), minlength=draws * count).reshape(draws, count)
        sums_RK[start : start + draws] = counts.astype(np.float64) @ columns_NK
    return sums_RK


def interval(values_R: Floats) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile of the finite values; nan where there are none.

    Args:
        values_R: what was computed from each draw.
    """
    finite_R = values_R[np.isfinite(values_R)]
    if not len(finite_R):
        return math.nan, math.nan
    low, high = np.percentile(finite_R, _PERCENTILES)
    return float(low), float(high)
