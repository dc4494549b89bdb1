"""Pictures of a report, where matplotlib is installed (`pip install 'mlembed[plots]'`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.report.detail_plots import detail_drawings
from mlembed.report.label_plots import CONFUSION, confusion_picture, draw_confusion
from mlembed.report.metrics import METRICS
from mlembed.report.page.contents import Records
from mlembed.report.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any color vision, and in gray by their lightness.
_COLORS = ("#0072B2", "#E69F00", "#BBBBBB", "#56B4E9", "#009E73", "#CC79A7")


def save_plots(report: Report, folder: Path, *, training: Mapping[str, Records] | None = None) -> list[Path]:
    """Draw the figures of the page as files: each as `.png` and `.svg`.

    Args:
        report: what was measured, with its details.
        folder: where to; it is made. The bars of the main metric are named after it, as `retrieval.png`.
        training: training -> records of its steps, for the learning curves.

    Returns:
        The files; none where matplotlib is not installed or nothing was measured.
    """
    metric = report.main_metric()
    if metric is None:
        return []
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return []
    folder.mkdir(exist_ok=True)
    drawings: dict[str, Callable[[Figure], None]] = {metric: lambda figure: _draw(report, metric, figure)}
    drawings |= detail_drawings(report, training or {})
    if confusion_picture(report.metadata) is not None:
        drawings[CONFUSION] = lambda figure: draw_confusion(report.metadata, figure)
    paths = []
    # Figures of their own, not pyplot: no global state, no window, whatever backend is set.
    with mpl.rc_context({"font.size": 9, "svg.hashsalt": "mlembed", "svg.fonttype": "path"}):
        for name, draw in drawings.items():
            figure = Figure(layout="constrained")
            FigureCanvasAgg(figure)
            draw(figure)
            paths += [folder / f"{name}.png", folder / f"{name}.svg"]
            figure.savefig(paths[-2], dpi=160)
            # Everything has its place now; to find it again would take as long as to draw.
            figure.set_layout_engine("none")
            figure.savefig(paths[-1], metadata={"Date": None})
    return paths


def _draw(report: Report, metric: str, figure: Figure) -> None:
    """Draw languages from top to bottom, the best of the last system first, systems in their order within each."""
    known, systems = METRICS[metric], list(report.systems)
    languages = sorted(report.languages(), key=lambda language: -_shown(report, metric, language, report.last)[0])
    figure.set_size_inches(6.4, 1.2 + len(languages) * (0.14 + 0.14 * len(systems)))
    axes = figure.add_subplot()
    height = 0.8 / len(systems)
    for i, system in enumerate(systems):
        values, lower, upper = zip(*(_shown(report, metric, key, system) for key in languages), strict=True)
        places = [y + (i - (len(systems) - 1) / 2) * height for y in range(len(languages))]
        color = _COLORS[(len(systems) - 1 - i) % len(_COLORS)]
        axes.barh(places, values, height=height * 0.92, color=color, label=system, zorder=2)
        axes.errorbar(values, places, xerr=(lower, upper), fmt="none", ecolor="#222222", elinewidth=0.8, zorder=3)
    for y, language in enumerate(languages):
        value, _, above = _shown(report, metric, language, report.last)
        estimate = report.estimate(metric, language)
        label = known.format(estimate.value if estimate else math.nan)
        end = (value + above, y + (len(systems) - 1) / 2 * height)
        axes.annotate(label, end, (4, 0), textcoords="offset points", va="center")
    weakest = report.weakest()
    marked = [f"{key} (weakest)" if weakest and key == weakest[0] and len(languages) > 1 else key for key in languages]
    axes.set_yticks(range(len(languages)), marked)
    axes.set_ylim(len(languages) - 0.5, -0.5)
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]), right=max(known.scale * 1.07, axes.get_xlim()[1]))
    axes.set_title(known.title, loc="left", fontsize=10)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6, zorder=0)
    axes.tick_params(length=0)
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=len(systems), frameon=False)


def _shown(report: Report, metric: str, language: str, system: str) -> tuple[float, float, float]:
    """Return the shown value and the lengths of its whiskers below and above; zeros where it is not defined."""
    estimate, scale = report.estimate(metric, language, system=system), METRICS[metric].scale
    if estimate is None or math.isnan(estimate.value):
        return 0.0, 0.0, 0.0
    low = estimate.value if math.isnan(estimate.low) else min(estimate.low, estimate.value)
    high = estimate.value if math.isnan(estimate.high) else max(estimate.high, estimate.value)
    return estimate.value * scale, (estimate.value - low) * scale, (high - estimate.value) * scale
