"""Learning curves: loss, validation metrics and learning rate over the steps of a training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mlembed.report.metrics import METRICS
from mlembed.report.page.contents import Records

# More points cannot be told apart, and make the page large.
MOST_POINTS = 240
# Metrics whose way is drawn, of those that were evaluated on the way; the first three of them.
CURVES = ("retrieval", "sts", "sts_cross", "macro_f1", "span_f1", "spearman", "cosine", "accuracy")
MOST_METRICS = 3
# Of the smoothed line: how much of the mean of the last steps each step keeps.
_KEEP = 0.9

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One line: `kind` decides how it is drawn (`faint`, `main`, `dots`), points are step and value."""

    name: str
    kind: str
    points: Points


@dataclass(frozen=True)
class Curve:
    """One plot.

    Args:
        title: what it shows.
        lines: what is drawn.
        best: the step of the best checkpoint, or None.
        unit: factor from stored to shown value.
    """

    title: str
    lines: list[Line]
    best: int | None = None
    unit: float = 1.0

    def bounds(self) -> tuple[float, float, float, float]:
        """Return the first and last step, the lowest and highest value; never the same twice."""
        steps = [step for line in self.lines for step, _ in line.points]
        values = [value for line in self.lines for _, value in line.points]
        first, last, low, high = min(steps), max(steps), min(values), max(values)
        room = (high - low) * 0.06 or abs(high) * 0.05 or 0.1
        return first, last if last > first else first + 1, low - room, high + room


def training_curves(records: Records) -> list[Curve]:
    """Return the plots of a training; none where it has no records.

    Args:
        records: of steps and evaluations, in their order.
    """
    losses = _points(records, "loss")
    evaluations = [one for one in records if isinstance(one.get("evaluation"), dict)]
    best = next((one.get("best_step") for one in reversed(evaluations)), None)
    curves = []
    if losses:
        lines = [Line("each step", "faint", thinned(losses)), Line("smoothed", "main", thinned(smoothed(losses)))]
        curves.append(Curve("Training loss", lines))
    measured = [name for name in CURVES if any(name in one["evaluation"] for one in evaluations)]
    for name in measured[:MOST_METRICS]:
        found = _finite((one["step"], one["evaluation"].get(name)) for one in evaluations)
        if found:
            title = f"Validation: {METRICS[name].title.removesuffix(' (x100)')}"
            curves.append(Curve(title, [Line(name, "dots", thinned(found))], best, METRICS[name].scale))
    if rates := _points(records, "lr"):
        curves.append(Curve("Learning rate", [Line("learning rate", "main", thinned(rates))]))
    return curves


def smoothed(points: Points) -> Points:
    """Return the running mean that forgets old values exponentially, without the bias of its start."""
    mean, weight, found = 0.0, 0.0, []
    for step, value in points:
        mean, weight = _KEEP * mean + (1 - _KEEP) * value, _KEEP * weight + (1 - _KEEP)
        found.append((step, mean / weight))
    return found


def thinned(points: Points) -> Points:
    """Return at most 240 points: of many, means of neighbors."""
    if len(points) <= MOST_POINTS:
        return points
    found = []
    for at in range(MOST_POINTS):
        part = points[at * len(points) // MOST_POINTS : (at + 1) * len(points) // MOST_POINTS]
        found.append((part[-1][0], math.fsum(value for _, value in part) / len(part)))
    return found


def ticks(low: float, high: float, *, count: int = 4) -> list[float]:
    """Return round numbers between two, about `count` of them."""
    span = high - low
    if not (span > 0 and math.isfinite(span)):
        return [low]
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [at * step for at in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_label(value: float) -> str:
    """Return a round number in few characters."""
    return "0" if abs(value) < 1e-12 else f"{value:.3g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _points(records: Records, key: str) -> Points:
    return _finite((one["step"], one.get(key)) for one in records if "step" in one and "evaluation" not in one)


def _finite(pairs: Iterable[tuple[object, object]]) -> Points:
    return [
        (float(step), float(value))
        for step, value in pairs
        if isinstance(step, int | float) and isinstance(value, int | float) and math.isfinite(value)
    ]


@dataclass(frozen=True)
class DrawnLine:
    """A line as an SVG path in a square of 100 by 100."""

    name: str
    kind: str
    path: str


@dataclass(frozen=True)
class DrawnCurve:
    """A plot whose places are in percent of its sides, from the left and from the top."""

    title: str
    lines: list[DrawnLine]
    y_ticks: list[tuple[float, str]]
    x_ticks: list[tuple[float, str, str]]
    best: float | None
    last: str


def drawn(curve: Curve) -> DrawnCurve:
    """Return a plot as the page draws it.

    Args:
        curve: with at least one point.
    """
    first, last, low, high = curve.bounds()

    def across(step: float) -> float:
        return round(100 * (step - first) / (last - first), 2)

    def down(value: float) -> float:
        return round(100 * (high - value) / (high - low), 2)

    lines = []
    for line in curve.lines:
        spots = [(across(step), down(value)) for step, value in line.points]
        path = "M" + " L".join(f"{x} {y}" for x, y in spots)
        lines.append(DrawnLine(line.name, "main" if line.kind == "dots" else line.kind, path))
        if line.kind == "dots" or len(spots) == 1:
            # A line of no length with round ends is a dot, however the square is stretched.
            lines.append(DrawnLine(line.name, "dots", " ".join(f"M{x} {y}h0" for x, y in spots)))
    # What is counted in hundredths does not go beyond 100.
    beyond = high if curve.unit == 1.0 else min(high, 1.0)
    y_ticks = [(down(value), tick_label(value * curve.unit)) for value in ticks(low, beyond)]
    steps = [value for value in ticks(first, last) if value == round(value)]
    x_ticks = [(across(step), f"{step:,.0f}", _anchor(across(step))) for step in steps]
    shown = [(x, tick, anchor) for x, tick, anchor in x_ticks if anchor == "middle" or x in (0.0, 100.0)]
    best = across(curve.best) if curve.best is not None and first <= curve.best <= last else None
    final = curve.lines[-1].points[-1][1] * curve.unit
    return DrawnCurve(curve.title, lines, y_ticks, shown, best, f"{final:.4g}")


def _anchor(percent: float) -> str:
    return "start" if percent < 4 else "end" if percent > 96 else "middle"
