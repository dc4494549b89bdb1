"""A picture of a sweep, where matplotlib is installed: the metric that decides against what was varied."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlembed.faults import fault_point
from mlembed.report.metrics import METRICS, parse_metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURES = ("summary.png", "summary.svg")
# A panel for each setting; more than these are not told apart on one page.
MOST_PANELS = 6
# So few numbers are all named on their axis.
MOST_TICKS = 6
# A value this many times another lies in another decade: the distances are then those of the logarithms.
DECADE = 10.0
_DOTS, _BEST, _LINE = "#0072B2", "#D55E00", "#9ecae1"


def save_sweep_plot(jobs: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the metric of the jobs, a panel for each setting that was varied.

    Args:
        jobs: metric, value and settings of each; see `mlembed.run.sweep.finished_jobs`.
        folder: an existing folder, which gets summary.png and summary.svg.

    Returns:
        The files; none where matplotlib is not installed, or fewer than two jobs can be compared.
    """
    jobs = [job for job in jobs if not math.isnan(job["value"])]
    settings = list(jobs[0]["settings"])[:MOST_PANELS] if jobs else []
    if len(jobs) < 2 or not settings or len({job["metric"] for job in jobs}) != 1:
        return []
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return []
    # A figure of its own, not pyplot: no global state, no window, whatever backend is set.
    with mpl.rc_context({"font.size": 9, "svg.hashsalt": "mlembed", "svg.fonttype": "path"}):
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        _draw(jobs, settings, figure)
        return [_save(figure, folder / name) for name in PICTURES]


def _save(figure: Figure, path: Path) -> Path:
    """Write a picture beside its place and rename it there, so that a kill leaves no half of one."""
    staging = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        figure.savefig(staging, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)
        fault_point("sweep.picture")
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)
    return path


def _draw(jobs: Sequence[Mapping[str, Any]], settings: Sequence[str], figure: Figure) -> None:
    columns = min(len(settings), 3)
    rows = math.ceil(len(settings) / columns)
    figure.set_size_inches(max(4.8, 3.2 * columns), 0.4 + 2.8 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    known = METRICS[parse_metric(jobs[0]["metric"])[0]]
    _, language = parse_metric(jobs[0]["metric"])
    for axes, setting in zip(panels, settings, strict=False):
        _draw_panel(axes, [job["settings"][setting] for job in jobs], [job["value"] * known.scale for job in jobs])
        axes.set_xlabel(setting)
    for axes in panels[len(settings) :]:
        axes.set_axis_off()
    title = f"{known.title}{f', {language}' if language else ''}: {known.better} is better"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)


def _draw_panel(axes: Axes, values: Sequence[Any], scores: Sequence[float]) -> None:
    """Draw a dot for each job, a line at the best of each value, and the best job of all in another color.

    Args:
        axes: of the panel.
        values: the setting's value in each job, the best job first.
        scores: the metric of each, as it is shown.
    """
    numbers = numeric(values)
    if numbers is None:
        names = sorted({_name(value) for value in values})
        places = [float(names.index(_name(value))) for value in values]
        axes.set_xticks(range(len(names)), names, rotation=20 if sum(map(len, names)) > 30 else 0)
        axes.set_xlim(-0.5, len(names) - 0.5)
    else:
        places = numbers
        if spans_decades(numbers):
            axes.set_xscale("log")
        elif len(set(numbers)) <= MOST_TICKS:
            axes.set_xticks(sorted(set(numbers)), [f"{number:g}" for number in sorted(set(numbers))])
    best: dict[float, float] = {}
    for place, score in zip(places, scores, strict=True):
        best.setdefault(place, score)  # the jobs come best first
    if numbers is None:
        left, right = ([place + side for place in best] for side in (-0.25, 0.25))
        axes.hlines(list(best.values()), left, right, color=_LINE, linewidth=2, zorder=1)
    else:
        axes.plot(sorted(best), [best[place] for place in sorted(best)], color=_LINE, zorder=1)
    axes.scatter(places, scores, color=_DOTS, s=16, zorder=2)
    axes.scatter(places[:1], scores[:1], color=_BEST, s=40, zorder=3)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6, zorder=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def numeric(values: Sequence[Any]) -> list[float] | None:
    """The values of a setting as numbers; None where some are not: `null` and `auto` have no place on an axis."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return None
    numbers = [float(value) for value in values]
    return numbers if all(map(math.isfinite, numbers)) else None


def spans_decades(numbers: Sequence[float]) -> bool:
    """Whether numbers lie so far apart that their logarithms are to be drawn."""
    return min(numbers) > 0 and max(numbers) >= DECADE * min(numbers)


def _name(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 24 else f"{text[:10]}…{text[-12:]}"
