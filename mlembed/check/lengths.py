"""Translations that are much longer or shorter than the length of their source lets one expect."""

from __future__ import annotations

import numpy as np

from mlembed.check.findings import Mark
from mlembed.check.parallel_rows import SpooledRows

# In robust standard deviations of a language's own rows.
FAR = 6.0
# Of translations whose lengths are all but the same multiple, the least difference would be odd otherwise; natural
# languages have 1 to 3 (Gale and Church: 2.6).
LEAST_SPREAD = 0.5
# Fewer rows of a language have no usual length.
LEAST_ROWS = 50
# From the median absolute deviation to a standard deviation of the normal distribution.
TO_DEVIATION = 1.4826


def lengths_of(rows: SpooledRows) -> tuple[np.ndarray, np.ndarray]:
    """Characters of all sources and of all translations."""
    source_N, target_N = np.empty(len(rows), dtype=np.int32), np.empty(len(rows), dtype=np.int32)
    start = 0
    for sources, targets in rows.texts():
        source_N[start : start + len(sources)] = [len(text) for text in sources]
        target_N[start : start + len(targets)] = [len(text) for text in targets]
        start += len(sources)
    return source_N, target_N


def surprise(source_N: np.ndarray, target_N: np.ndarray) -> np.ndarray:
    """How far the length of each translation of one language is from what is usual, in standard deviations.

    The difference between the length of a translation and that of its source times the usual ratio grows with the
    square root of the length, so it is divided by that; centre and spread are robust (median and median absolute
    deviation), since what is looked for is among the rows.

    Args:
        source_N: characters of the sources.
        target_N: characters of the translations, all in one language.

    Source: Gale and Church (1993), A Program for Aligning Sentences in Bilingual Corpora.
    """
    ratio = float(np.median(target_N / np.maximum(source_N, 1)))
    expected_N = source_N * ratio
    difference_N = (target_N - expected_N) / np.sqrt(np.maximum((target_N + expected_N) / 2, 1))
    centre = np.median(difference_N)
    spread = TO_DEVIATION * np.median(np.abs(difference_N - centre))
    found_N: np.ndarray = (difference_N - centre) / max(float(spread), LEAST_SPREAD)
    return found_N


def odd_lengths(rows: SpooledRows) -> list[Mark]:
    """A mark of all rows whose translation has an odd length."""
    source_N, target_N = lengths_of(rows)
    surprise_N = np.zeros(len(rows))
    for language in range(len(rows.languages)):
        places = np.flatnonzero(rows.language_N == language)
        if len(places) >= LEAST_ROWS:
            surprise_N[places] = surprise(source_N[places], target_N[places])
    found = np.flatnonzero(np.abs(surprise_N) > FAR)
    if not len(found):
        return []

    def why(at: int) -> str:
        number = found[at]
        return f"{target_N[number]} characters for {source_N[number]}, {surprise_N[number]:+.1f} standard deviations"

    return [Mark("length", found, np.abs(surprise_N[found]), why, len(rows))]
