"""Pictures of what is taken for what: a confusion matrix for each language, and one of all together."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# No language has an empty name.
ALL_LANGUAGES = ""
_CELL, _MARGIN = 0.27, 2.6
# Counts in more cells than that cannot be read at any size that a screen shows.
_MOST_NUMBERED = 60
_MOST_INCHES = 24.0


def confusion_pictures(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the file name of each language's picture, and under `ALL_LANGUAGES` that of all where there are several.

    Args:
        metadata: of the report; `labels` holds the confusion matrices.

    Returns:
        Language -> name; empty where matplotlib is not installed, or there are no matrices (tags have none).
    """
    confusions = _confusions(metadata)
    if not confusions or importlib.util.find_spec("matplotlib") is None:
        return {}
    names = {language: "confusion_" + re.sub(r"[^\w-]", "_", language) + ".png" for language in confusions}
    return {**({ALL_LANGUAGES: "confusion.png"} if len(names) > 1 else {}), **names}


def save_confusions(metadata: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the pictures that `confusion_pictures` names.

    Args:
        metadata: of the report; `labels` holds the confusion matrices.
        folder: an existing folder.

    Returns:
        The files; none where matplotlib is not installed.
    """
    pictures = confusion_pictures(metadata)
    if not pictures:
        return []
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    confusions = _confusions(metadata)
    confusions[ALL_LANGUAGES] = _together(list(confusions.values()), order=metadata["labels"].get("names") or [])
    for language, name in pictures.items():
        names, counts_LL = confusions[language]
        with mpl.rc_context({"font.size": 8}):
            figure = Figure(layout="constrained")
            FigureCanvasAgg(figure)
            _draw(names, counts_LL, figure, title=language or "all languages")
            figure.savefig(folder / name, dpi=130)
    return [folder / name for name in pictures.values()]


def _confusions(metadata: Mapping[str, Any]) -> dict[str, tuple[list[str], NDArray[np.integer]]]:
    """Return the names of the labels and the counts of each language that has them."""
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
        axes.text(column, row, number, ha="center", va="center", color=color, fontsize=7 if len(number) < 4 else 5)
