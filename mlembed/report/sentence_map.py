"""A map of sentences and their translations on two axes: where a model puts what says the same."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np

from mlembed.report.vectors import Floats, finite_rows

# More sentences cannot be told apart by color.
MOST_SENTENCES = 12
# Sentences that are looked at; choosing is quadratic in nothing else.
_MOST_CANDIDATES = 2000


def choose_sentences(languages: Mapping[Hashable, set[str]]) -> list[Hashable]:
    """Return at most 12 sentences, so that languages are seen as evenly as their translations allow.

    Args:
        languages: sentence -> the languages that it is there in.
    """
    left = dict(list(languages.items())[:_MOST_CANDIDATES])
    seen: dict[str, int] = {}
    chosen: list[Hashable] = []
    while left and len(chosen) < MOST_SENTENCES:
        best = max(left, key=lambda key: sum(1 / (1 + seen.get(language, 0)) for language in left[key]))
        for language in left.pop(best):
            seen[language] = seen.get(language, 0) + 1
        chosen.append(best)
    return chosen


def principal_axes(vectors_ND: Floats) -> tuple[Floats, Floats]:
    """Return the mean of vectors and the two directions in which they differ most (PCA), shapes [D] and [D, 2].

    Of each direction the largest entry is positive, so that the same vectors give the same map.

    Args:
        vectors_ND: one vector a row, at least one row and two columns.

    Raises:
        MlembedError: vectors hold nan or infinity.
    """
    vectors_ND = finite_rows(vectors_ND).astype(np.float64)
    mean_D: Floats = vectors_ND.mean(axis=0)
    centered_ND = vectors_ND - mean_D
    _, directions_DD = np.linalg.eigh(centered_ND.T @ centered_ND)
    axes_D2: Floats = directions_DD[:, ::-1][:, :2]
    axes_D2 = axes_D2 * np.where(np.take_along_axis(axes_D2, np.abs(axes_D2).argmax(0)[None], 0) < 0, -1.0, 1.0)
    return mean_D, axes_D2


def places(vectors_ND: Floats, axes: tuple[Floats, Floats]) -> list[list[float]]:
    """Return where vectors lie on the map, x and y of each, as JSON values.

    Args:
        vectors_ND: one vector a row.
        axes: of `principal_axes`.

    Raises:
        MlembedError: vectors hold nan or infinity.
    """
    mean_D, axes_D2 = axes
    places_N2 = (finite_rows(vectors_ND) - mean_D) @ axes_D2
    return [[round(float(x), 4), round(float(y), 4)] for x, y in places_N2]
