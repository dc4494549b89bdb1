"""The picture of what is taken for what: a confusion matrix of all languages together."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# No language has an empty name.
ALL_LANGUAGES = ""
CONFUSION = "confusion"
_CELL, _MARGIN = 0.27, 2.6
# Counts in more cells than that cannot be read at any size that a screen shows.
_MOST_NUMBERED = 60
_MOST_INCHES = 24.0


def confusion_picture(metadata: Mapping[str, Any]) -> str | None:
    """Return the file name of the picture of all languages together; those of each language are on the page.

    Args:
        metadata: of the report; `labels` holds the confusion matrices.

    Returns:
        None where matplotlib is not installed, or there are no matrices (tags have none).
    """
    drawn = bool(_by_language(metadata)) and importlib.util.find_spec("matplotlib") is not None
    return f"{CONFUSION}.png" if drawn else None


def draw_confusion(metadata: Mapping[str, Any], figure: Figure) -> None:
    """Draw what is taken for what in all languages together.

    Args:
        metadata: of the report; `labels` holds at least one confusion matrix.
        figure: an empty one.
    """
    found = confusions(metadata)
    language = ALL_LANGUAGES if ALL_LANGUAGES in found else next(iter(found))
    names, counts_LL = found[language]
    _draw(names, counts_LL, figure, title=language or "all languages")


def confusions(metadata: Mapping[str, Any]) -> dict[str, tuple[list[str], NDArray[np.integer]]]:
    """Return the names of the labels and the counts of each language that has them, and of all under `ALL_LANGUAGES`.

    Args:
        metadata: of the report; `labels` holds the confusion matrices.

    Returns:
        Language -> names and counts, a row for each gold label; empty where there are no matrices.
    """
    found = _by_language(metadata)
    if len(found) > 1:
        found[ALL_LANGUAGES] = _together(list(found.values()), order=metadata["labels"].get("names") or [])
    return found


def _by_language(metadata: Mapping[str, Any]) -> dict[str, tuple[list[str], NDArray[np.integer]]]:
    by_language = (metadata.get("labels") or {}).get("by_language") or {}
    found = {language: details["confusion"] for language, details in by_language.items() if "confusion" in details}
    return {language: (list(one["names"]), np.asarray(one["counts"])) for language, one in found.items()}


def _together(
    confusions: list[tuple[list[str], NDArray[np.integer]]], *, order: list[str]
) -> tuple[list[str], NDArray[np.integer]]:
    """Return the sum of matrices whose labels may differ, in the order of all labels."""
    occurring = dict.fromkeys(name for names, _ in confusions for name in names)
    together = [name for name in order if name in occurring]
    together += [name for name in occurring if name not in together]
    sums_LL = np.zeros((len(together), len(together)), dtype=np.int64)
    for names, counts_LL in confusions:
        places = [together.index(name) for name in names]
        sums_LL[np.ix_(places, places)] += counts_LL
    return together, sums_LL


def _draw(names: list[str], counts_LL: NDArray[np.integer], figure: Figure, *, title: str) -> None:
    """Draw shares of each gold label as shades, so that rare labels can be seen, and counts as numbers."""
    side = min(_MOST_INCHES, _MARGIN + _CELL * len(names))
    figure.set_size_inches(side, side)
    axes = figure.add_subplot()
    totals_L1 = counts_LL.sum(axis=1, keepdims=True)
    shares_LL = counts_LL / np.maximum(totals_L1, 1)
    axes.imshow(shares_LL, cmap="Blues", vmin=0.0, vmax=1.0)
    # A dollar sign would begin a formula.
    shown = [(name if len(name) <= 28 else f"{name[:27]}…").replace("$", r"\$") for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=90)
    axes.set_yticks(range(len(names)), shown)
    axes.set_xlabel("answer")
    axes.set_ylabel("gold label")
    axes.set_title(f"Confusion matrix, {title}", loc="left", fontsize=9)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#E8E8E8", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    if len(names) > _MOST_NUMBERED:
        return
    for row, column in zip(*np.nonzero(counts_LL), strict=True):
        color = "white" if shares_LL[row, column] > 0.55 else "#222222"
        number = str(counts_LL[row, column])
        axes.text(
            column,
            row,
            number,
            ha="center",
            va="center",
            color=color,
            fontsize=7 if len(number) < 4 else 5,
            in_layout=False,
        )
