"""How alike languages are to a model: a number for each two of them, from rows that say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from mlembed.report.details import rounded
from mlembed.report.vectors import Floats, row_cosines

# Bounds of time and size: 60 languages are 1,770 pairs. A mean of 200 cosines is known to about 0.01.
MOST_LANGUAGES, MOST_ROWS = 60, 200
# A mean over fewer rows says nothing.
LEAST_ROWS = 5

Alike = Callable[[str, Sequence[Hashable], str, Sequence[Hashable]], float]


def language_similarity(vectors: Mapping[str, Mapping[Hashable, Floats]]) -> dict[str, Any]:
    """Return the mean cosine between translations, for each two languages.

    Cosines alone mislead: some models answer 0.8 to any two texts. So the mean cosine of sentences that have nothing to
    do with each other is given beside it.

    Args:
        vectors: language -> meaning -> vector; the first language is the source.

    Returns:
        As JSON values: `measure` ("cosine"), `languages`, `values` (a row for each language; None where two have fewer
        than 5 meanings in common), and `unrelated`, the mean cosine of different meanings in different languages;
        empty where no two languages have enough in common.

    Raises:
        MlembedError: vectors hold nan or infinity.
    """

    def alike(first: str, first_rows: Sequence[Hashable], second: str, second_rows: Sequence[Hashable]) -> float:
        first_ND = np.stack([vectors[first][one] for one in first_rows])
        return float(row_cosines(first_ND, np.stack([vectors[second][one] for one in second_rows])).mean())

    return _matrix("cosine", vectors, alike)


def answer_similarity(answers: Mapping[str, Mapping[Hashable, Any]]) -> dict[str, Any]:
    """Return how often rows that say the same are answered alike, for each two languages.

    Args:
        answers: language -> meaning -> answer: a label, a tuple of labels, or a score; the source is first.

    Returns:
        As `language_similarity`; `measure` is "agreement", or for scores "correlation" (Pearson).
    """
    is_score = any(isinstance(one, float) for row in answers.values() for one in row.values())

    def alike(first: str, first_rows: Sequence[Hashable], second: str, second_rows: Sequence[Hashable]) -> float:
        ours = [answers[first][one] for one in first_rows]
        theirs = [answers[second][one] for one in second_rows]
        if not is_score:
            return float(np.mean([one == other for one, other in zip(ours, theirs, strict=True)]))
        if np.ptp(ours) == 0 or np.ptp(theirs) == 0:
            return float("nan")
        return float(np.corrcoef(ours, theirs)[0, 1])

    return _matrix("correlation" if is_score else "agreement", answers, alike)


def shared_meanings(rows: Mapping[str, Collection[Hashable]]) -> dict[str, list[Hashable]]:
    """Return the meanings by which languages are compared: of each language those that most languages have.

    Args:
        rows: language -> its meanings; the first language is the source.

    Returns:
        Language -> at most 200 meanings; of the source all that the others have.
    """
    languages = list(rows)[:MOST_LANGUAGES]
    count = Counter(meaning for language in languages for meaning in rows[language])
    chosen = {
        language: sorted(rows[language], key=lambda meaning: -count[meaning])[:MOST_ROWS] for language in languages
    }
    wanted = dict.fromkeys(meaning for language in languages[1:] for meaning in chosen[language])
    return {**chosen, **{language: [one for one in wanted if one in rows[language]] for language in languages[:1]}}


def _matrix(measure: str, rows: Mapping[str, Mapping[Hashable, Any]], alike: Alike) -> dict[str, Any]:
    """Return a number for each two languages, and the mean of rows that do not belong together; empty without any."""
    chosen = shared_meanings(rows)
    languages = list(chosen)
    values: list[list[float | None]] = [[1.0 if row == column else None for column in languages] for row in languages]
    unrelated = []
    for i, first in enumerate(languages):
        for j, second in enumerate(languages[:i]):
            common = [one for one in chosen[first] if one in rows[second]]
            if len(common) >= LEAST_ROWS:
                values[i][j] = values[j][i] = rounded(alike(first, common, second, common))
                unrelated.append(alike(first, common, second, common[1:] + common[:1]))
    if not unrelated:
        return {}
    mean = float(np.nanmean(unrelated)) if np.isfinite(unrelated).any() else float("nan")
    return {"measure": measure, "languages": languages, "values": values, "unrelated": rounded(mean)}
