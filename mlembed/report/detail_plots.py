"""Pictures of what lies behind a report: learning curves, similarity of languages, the map of sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from mlembed.report.page.contents import Records
from mlembed.report.page.curves import training_curves
from mlembed.report.page.grids import similarity_grids
from mlembed.report.page.scatter import SIDE, sentence_map
from mlembed.report.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_TITLE = 34


def detail_drawings(report: Report, training: Mapping[str, Records]) -> dict[str, Callable[[Figure], None]]:
    """Return how to draw what there is to draw: name of the file, without its ending -> what draws on a figure.

    Args:
        report: with its details.
        training: training -> records of its steps; the first is the student's.
    """
    drawings: dict[str, Callable[[Figure], None]] = {}
    records = next(iter(training.values()), ())
    if training_curves(records):
        drawings["curves"] = lambda figure: _curves(records, figure)
    if similarity_grids(report) is not None:
        drawings["similarity"] = lambda figure: _similarity(report, figure)
    if sentence_map(report) is not None:
        drawings["map"] = lambda figure: _map(report, figure)
    return drawings


def _curves(records: Records, figure: Figure) -> None:
    curves = training_curves(records)
    columns = min(2, len(curves))
    rows = -(-len(curves) // columns)
    figure.set_size_inches(4.2 * columns, 2.4 * rows)
    for at, curve in enumerate(curves):
        axes = figure.add_subplot(rows, columns, at + 1)
        for line in curve.lines:
            steps, values = zip(*line.points, strict=True)
            faint, marker = line.kind == "faint", "o" if line.kind == "dots" else None
            shown = [value * curve.unit for value in values]
            axes.plot(
                steps, shown, color="#BBBBBB" if faint else "#0072B2", linewidth=0.8 if faint else 1.6, marker=marker
            )
        if curve.best is not None:
            axes.axvline(curve.best, color="#E69F00", linewidth=1, linestyle="--")
        axes.set_title(curve.title, loc="left", fontsize=9)
        _bare(axes)
        axes.grid(color="#DDDDDD", linewidth=0.6)


def _similarity(report: Report, figure: Figure) -> None:
    shades = similarity_grids(report)
    assert shades is not None
    side = max(2.6, 0.32 * len(shades.grids[0].rows) + 0.9)
    figure.set_size_inches(side * len(shades.grids), side + 0.3)
    for at, grid in enumerate(shades.grids):
        axes = figure.add_subplot(1, len(shades.grids), at + 1)
        shade_NN = np.full((len(grid.rows), len(grid.columns)), np.nan)
        for cell in grid.cells:
            shade_NN[cell.row, cell.column] = cell.shade
            if cell.text:
                color = "white" if cell.depth else "#222222"
                axes.text(
                    cell.column, cell.row, cell.text, ha="center", va="center", fontsize=6, color=color, in_layout=False
                )
        axes.imshow(shade_NN, cmap="Blues", vmin=0.0, vmax=1.0)
        axes.set_xticks(range(len(grid.columns)), grid.columns, rotation=90, fontsize=7)
        axes.set_yticks(range(len(grid.rows)), grid.rows, fontsize=7)
        axes.set_title(_short(grid.title), loc="left", fontsize=8)
        _bare(axes)


def _map(report: Report, figure: Figure) -> None:
    found = sentence_map(report)
    assert found is not None
    import matplotlib as mpl
    from matplotlib.collections import LineCollection

    colors = mpl.colormaps["tab20"](np.arange(20))
    figure.set_size_inches(3.4 * len(found.panels), 3.7)
    for at, panel in enumerate(found.panels):
        axes = figure.add_subplot(1, len(found.panels), at + 1)
        ends = [((x1, y1), (x2, y2)) for x1, y1, x2, y2, _ in panel.lines]
        of_lines = [colors[line[-1] % 20] for line in panel.lines]
        axes.add_collection(LineCollection(ends, colors=of_lines, linewidths=0.6, alpha=0.6, zorder=1))
        sizes = [60 if dot.is_source else 9 for dot in panel.dots]
        places = [dot.x for dot in panel.dots], [dot.y for dot in panel.dots]
        of_dots = [colors[dot.sentence % 20] for dot in panel.dots]
        axes.scatter(*places, s=sizes, c=of_dots, edgecolors="white", linewidths=0.4, zorder=2)
        for dot in panel.dots:
            if dot.is_source:
                axes.text(dot.x, dot.y, str(dot.sentence + 1), ha="center", va="center", fontsize=5, zorder=3)
        axes.set_xlim(0, SIDE)
        axes.set_ylim(SIDE, 0)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_aspect("equal")
        axes.set_title(_short(panel.title), loc="left", fontsize=8)


def _bare(axes: object) -> None:
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)  # type: ignore[attr-defined]
    axes.tick_params(length=0)  # type: ignore[attr-defined]


def _short(title: str) -> str:
    """Return a title that fits, in which a dollar sign begins no formula."""
    return (title if len(title) <= _MOST_TITLE else f"{title[: _MOST_TITLE - 1]}…").replace("$", r"\$")
