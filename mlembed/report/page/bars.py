"""Bars of a metric by language, one system beside the other, with 95 % intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlembed.report.bootstrap import Estimate
from mlembed.report.metrics import METRICS
from mlembed.report.page.story import weakest_first
from mlembed.report.report import Report

_ROOM = 4.0  # above and below the bars of a language, in pixels
_THICK, _THIN, _TICK = 11.0, 7.0, 18.0


@dataclass(frozen=True)
class Bar:
    """One system in one language; lengths are in percent of the width, heights in pixels.

    Args:
        system: its name, which gives the color.
        kind: `bar`, or `mark` for systems that are only compared with.
        top: where it begins.
        height: how high it is.
        start: of the bar.
        length: of the bar; of a mark 0.
        low: the lower end of the interval.
        high: its upper end.
        title: the words for a pointer that stays on it.
    """

    system: str
    kind: str
    top: float
    height: float
    start: float
    length: float
    low: float
    high: float
    title: str


@dataclass(frozen=True)
class BarRow:
    """The bars of a language, and what stands beside them."""

    language: str
    weakest: bool
    height: float
    bars: list[Bar]
    value: str
    interval: str


@dataclass(frozen=True)
class BarChart:
    """A metric: rows from the best language to the weakest, and the ticks of the axis (percent, label)."""

    title: str
    systems: list[tuple[str, str]]
    rows: list[BarRow]
    ticks: list[tuple[float, str]]


def bar_chart(report: Report, metric: str) -> BarChart | None:
    """Return the bars of a metric; None where the last system has no language with it.

    The last system and the one before it are bars, others are marks: five bars a language could not be read.

    Args:
        report: what was measured.
        metric: what is drawn.
    """
    languages = weakest_first(report, metric)
    if not languages:
        return None
    known = METRICS[metric]
    estimates = [
        one for system in report.systems for key in languages if (one := report.estimate(metric, key, system=system))
    ]
    ends = [value for one in estimates for value in (one.value, one.low, one.high) if math.isfinite(value)]
    low, high = min([0.0, *ends]), max([1.0, *ends])
    rows = [
        _row(report, metric, key, low, high, weakest=at == 0 and len(languages) > 1) for at, key in enumerate(languages)
    ]
    ticks = [low + (high - low) * at / 4 for at in range(5)]
    digits = 0 if known.scale == 100 else 2
    labels = [(100.0 * at / 4, f"{tick * known.scale:.{digits}f}") for at, tick in enumerate(ticks)]
    bars = list(report.systems)[-2:]
    drawn = [(system, "bar" if system in bars else "mark") for system in report.systems]
    return BarChart(known.title, drawn, rows[::-1], labels)


def _row(report: Report, metric: str, language: str, low: float, high: float, *, weakest: bool) -> BarRow:
    known, systems = METRICS[metric], list(report.systems)
    barred = systems[-2:][::-1]
    height = 2 * _ROOM + _THICK + (_THIN + 1 if len(barred) > 1 else 0)
    found = []
    for system in systems:
        estimate = report.estimate(metric, language, system=system)
        if estimate is None or math.isnan(estimate.value):
            continue
        place = barred.index(system) if system in barred else None
        top = (height - _TICK) / 2 if place is None else _ROOM + place * (_THICK + 1)
        thick = (_THICK, _THIN)[place] if place is not None else _TICK
        found.append(
            _bar(metric, system, estimate, low, high, top=top, height=thick, kind="mark" if place is None else "bar")
        )
    own = report.estimate(metric, language)
    assert own is not None
    return BarRow(language, weakest, height, found, known.format(own.value), interval_text(metric, own))


def _bar(
    metric: str, system: str, estimate: Estimate, low: float, high: float, *, top: float, height: float, kind: str
) -> Bar:
    def percent(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    zero, end = percent(0.0), percent(estimate.value)
    has_interval = math.isfinite(estimate.low) and math.isfinite(estimate.high)
    title = f"{system}: {METRICS[metric].format(estimate.value)} {interval_text(metric, estimate)}".strip()
    return Bar(
        system=system,
        kind=kind,
        top=round(top, 1),
        height=height,
        start=end if kind == "mark" else min(zero, end),
        length=0.0 if kind == "mark" else round(abs(end - zero), 2),
        low=percent(estimate.low) if has_interval else end,
        high=percent(estimate.high) if has_interval else end,
        title=title,
    )


def interval_text(metric: str, estimate: Estimate) -> str:
    """Return the 95 % interval as it is shown; empty where it is not known."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return ""
    return f"{METRICS[metric].format(estimate.low)}–{METRICS[metric].format(estimate.high)}"
