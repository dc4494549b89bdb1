"""All metrics of one language from the vectors of its rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlembed.report.agreement import cosine_to_teacher, squared_errors
from mlembed.report.bootstrap import RESAMPLES, Estimate, mean_estimates, ratio_estimate, spearman_estimate
from mlembed.report.metrics import metric_names
from mlembed.report.retrieval import CHUNK_SIZE, margin_error, retrieval_hits
from mlembed.report.vectors import Floats, row_cosines


def score_parallel(
    *,
    source_ND: Floats,
    target_ND: Floats,
    teacher_ND: Floats | None,
    source_texts: Sequence[str],
    target_texts: Sequence[str],
    chunk_size: int = CHUNK_SIZE,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Estimate]:
    """Return the metrics of one language's parallel rows; its rows are the candidates of the retrieval.

    Args:
        source_ND: the tested model's vectors of the source texts.
        target_ND: the tested model's vectors of their translations, row by row.
        teacher_ND: the teacher's vectors of the source texts; None leaves out `cosine` and `unexplained_variance`.
        source_texts: the source texts; duplicates are one candidate.
        target_texts: the translations; duplicates are one candidate.
        chunk_size: rows in a block of the retrieval; it changes memory and speed, not results.
        seed: of the bootstrap.
        resamples: of the bootstrap; 0 leaves the intervals out, for a quick look while training.

    Returns:
        Estimates by metric name, in the order of the report.

    Raises:
        ValueError: counts or widths do not fit.
        MlembedError: vectors hold nan or infinity.
    """
    columns = _retrieval_by_row(source_ND, target_ND, source_texts, target_texts, chunk_size)
    if teacher_ND is not None:
        columns["cosine"] = cosine_to_teacher(target_ND, teacher_ND)
    estimates = mean_estimates(columns, seed=seed, resamples=resamples)
    if teacher_ND is not None:
        error_N, spread_N = squared_errors(target_ND, teacher_ND)
        estimates["unexplained_variance"] = ratio_estimate(error_N, spread_N, seed=seed, resamples=resamples)
    return {name: estimates[name] for name in metric_names() if name in estimates}


def _retrieval_by_row(
    source_ND: Floats, target_ND: Floats, source_texts: Sequence[str], target_texts: Sequence[str], chunk_size: int
) -> dict[str, Floats]:
    """Return what each row adds to the metrics of retrieval."""
    rows_N = np.arange(len(source_texts))
    to_source_N = retrieval_hits(
        target_ND,
        source_ND,
        gold_N=rows_N,
        candidate_texts=source_texts,
        query_texts=target_texts,
        chunk_size=chunk_size,
    )
    from_source_N = retrieval_hits(
        source_ND,
        target_ND,
        gold_N=rows_N,
        candidate_texts=target_texts,
        query_texts=source_texts,
        chunk_size=chunk_size,
    )
    return {
        "retrieval": (to_source_N + from_source_N) / 2,
        "retrieval_to_source": to_source_N,
        "retrieval_from_source": from_source_N,
        "margin_error": margin_error(
            target_ND, source_ND, candidate_texts=source_texts, query_texts=target_texts, chunk_size=chunk_size
        ),
    }


def score_sts(
    first_ND: Floats, second_ND: Floats, scores_N: Floats, *, seed: int = 0, resamples: int = RESAMPLES
) -> Estimate:
    """Return Spearman's correlation of the cosines of sentence pairs with people's scores.

    The caller files it as `sts` where both sentences are of one language, as `sts_cross` where the first is of the
    source language.

    Args:
        first_ND: vectors of the first sentences.
        second_ND: vectors of the second sentences.
        scores_N: people's scores, on any scale.
        seed: of the bootstrap.
        resamples: of the bootstrap; 0 leaves the interval out.

    Returns:
        The estimate; nan where there is no ranking (constant vectors or scores, fewer than two pairs).

    Raises:
        ValueError: shapes differ, or a score is not finite.
        MlembedError: vectors hold nan or infinity.
    """
    scores_N = np.asarray(scores_N, dtype=np.float64)
    return spearman_estimate(row_cosines(first_ND, second_ND), scores_N, seed=seed, resamples=resamples)
