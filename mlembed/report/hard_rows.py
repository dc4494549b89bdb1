"""The rows that a model finds hardest, with their texts: where to look first when a language is weak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlembed.report.details import rounded, short
from mlembed.report.vectors import Floats, unit_rows

# What is kept of a language, and of its rows what is looked at: each row is compared with all others.
ROWS_A_LANGUAGE, MOST_COMPARED = 3, 1000

HardRow = dict[str, Any]


def hard_translations(
    language: str, *, source_ND: Floats, target_ND: Floats, sources: Sequence[str], targets: Sequence[str]
) -> list[HardRow]:
    """Return the translations whose own source is least nearer to them than another source is.

    Args:
        language: of the translations.
        source_ND: vectors of the source texts; the first 1,000 rows are looked at.
        target_ND: vectors of their translations.
        sources: the source texts.
        targets: the translations.

    Returns:
        At most 3, hardest first: `language`, `text`, `expected` (its source), `answer` (the nearest other source),
        `score` and `answer_score` (their cosines), `wrong` (whether the other one is nearer).

    Raises:
        MlembedError: vectors hold nan or infinity.
    """
    sources, targets = sources[:MOST_COMPARED], targets[:MOST_COMPARED]
    cosines_NN = unit_rows(target_ND[: len(targets)]) @ unit_rows(source_ND[: len(sources)]).T
    own_N = cosines_NN.diagonal().copy()
    numbers = {text: number for number, text in enumerate(dict.fromkeys(sources))}
    same_N = np.array([numbers[text] for text in sources])
    # The same source twice is not another one.
    cosines_NN[same_N[:, None] == same_N[None]] = -np.inf
    other_N = cosines_NN.argmax(axis=1)
    best_N = cosines_NN.max(axis=1)
    rows = [int(row) for row in np.argsort(own_N - best_N, kind="stable") if np.isfinite(best_N[row])]
    return [
        {
            "language": language,
            "text": short(targets[row]),
            "expected": short(sources[row]),
            "answer": short(sources[int(other_N[row])]),
            "score": rounded(own_N[row]),
            "answer_score": rounded(best_N[row]),
            "wrong": bool(best_N[row] >= own_N[row]),
        }
        for row in rows[:ROWS_A_LANGUAGE]
    ]


def hard_answers(
    language: str, *, texts: Sequence[str], expected: Sequence[str], answers: Sequence[str], badness_N: Floats
) -> list[HardRow]:
    """Return the rows with the worst answers.

    Args:
        language: of the rows.
        texts: the texts, as a person reads them.
        expected: what people said of them.
        answers: what the model says.
        badness_N: how bad each answer is; rows with 0 or less are good.

    Returns:
        At most 3, worst first: `language`, `text`, `expected`, `answer`, `score` (the badness), `wrong`.
    """
    order = [int(row) for row in np.argsort(-badness_N, kind="stable") if badness_N[row] > 0]
    return [
        {
            "language": language,
            "text": short(texts[row]),
            "expected": short(expected[row]),
            "answer": short(answers[row]),
            "score": rounded(badness_N[row]),
            "wrong": True,
        }
        for row in order[:ROWS_A_LANGUAGE]
    ]
