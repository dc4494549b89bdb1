"""Consistency: does a text get the answer that the same text gets in the source language."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np

from mlembed.report.bootstrap import RESAMPLES, Estimate, mean_estimate


def consistency(
    answers: Mapping[str, Mapping[str, Hashable]], *, source_language: str, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """Return for each other language how often the answer to a row is that to the row of the same id in the source.

    It needs no gold labels, and both answers may be wrong.

    Args:
        answers: language -> id of a row -> answer: a label, or a tuple or frozenset of labels.
        source_language: the language to compare with.
        seed: of the bootstrap.
        resamples: of the bootstrap; 0 leaves the intervals out.

    Returns:
        An estimate by language; languages without a common id are left out, all of them where the source has no
        answers.
    """
    source = answers.get(source_language, {})
    estimates = {}
    for language, others in answers.items():
        same = [answer == source[key] for key, answer in others.items() if key in source]
        if language != source_language and same:
            estimates[language] = mean_estimate(np.array(same, dtype=np.float64), seed=seed, resamples=resamples)
    return estimates
