"""Grids of shaded cells: languages against languages, labels against answers, labels by language."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlembed.report.label_details import AVERAGES
from mlembed.report.label_plots import ALL_LANGUAGES, confusions
from mlembed.report.page.story import weakest_first
from mlembed.report.report import Report
from mlembed.report.systems import system_words

# Cells with numbers in them are large; of more cells than that, none has a number.
_MOST_NUMBERED, _MOST_MIDDLE = 16, 32
_SIDES = (34, 20, 11)
_CHARACTER, _MARGIN = 6.4, 10
_LONGEST_NAME = 24
# Bounds of the page's size.
MOST_LABELS, MOST_CONFUSIONS = 60, 12
# From these shades on, a number stands in the color of the paper: on a dark page, and on a light one.
_DARK, _DARKEST = 0.57, 0.8


@dataclass(frozen=True)
class Cell:
    """A cell: its column and row, how dark it is (0 to 1), its number, and the words for a pointer that stays on it."""

    column: int
    row: int
    shade: float
    text: str
    title: str
    kind: str = "heat"

    @property
    def depth(self) -> str:
        """How its number must stand out: `dark`, `dark darkest`, or nothing."""
        return "dark darkest" if self.shade > _DARKEST else "dark" if self.shade > _DARK else ""


@dataclass(frozen=True)
class Grid:
    """Shaded cells with names beside and below them.

    Args:
        title: above it.
        rows: names of the rows.
        columns: names of the columns.
        cells: those that are not empty.
        row_title: what the rows are.
        column_title: what the columns are.
    """

    title: str
    rows: list[str]
    columns: list[str]
    cells: list[Cell]
    row_title: str = ""
    column_title: str = ""

    @property
    def side(self) -> int:
        """The side of a cell, in pixels."""
        return _side(max(len(self.rows), len(self.columns)))

    @property
    def left(self) -> int:
        """The room for the names of the rows."""
        return _room(self.rows)

    @property
    def bottom(self) -> int:
        """The room for the names of the columns, which stand upright."""
        return _room(self.columns)

    @property
    def width(self) -> int:
        """Of all, in pixels."""
        return self.left + self.side * len(self.columns) + 2

    @property
    def height(self) -> int:
        """Of all, in pixels."""
        return self.bottom + self.side * len(self.rows) + 2


@dataclass(frozen=True)
class Shades:
    """Grids of one kind of number, and what lightest and darkest stand for."""

    grids: list[Grid]
    low: str
    high: str
    measure: str
    notes: list[str]


def similarity_grids(report: Report) -> Shades | None:
    """Return the similarity of languages for each system that has it, in the same shades; None where none has.

    Args:
        report: with its details.
    """
    found = report.details.similarities()
    found = {name: found[name] for name in report.systems if name in found}
    if not found:
        return None
    numbers = [value for one in found.values() for row in one["values"] for value in row if value is not None]
    low, high = math.floor(max(-1.0, min([*numbers, 0.9])) * 10) / 10, 1.0
    grids, notes = [], []
    for name, one in found.items():
        languages, cells = list(one["languages"]), []
        numbered = len(languages) <= _MOST_NUMBERED
        for row, values in enumerate(one["values"]):
            for column, value in enumerate(values):
                if value is not None:
                    title = f"{languages[row]} and {languages[column]}: {value:.2f}"
                    cells.append(Cell(column, row, _shade(value, low, high), f"{value:.2f}" if numbered else "", title))
        grids.append(Grid(system_words(report, name), languages, languages, cells))
        pairs = [value for row, values in enumerate(one["values"]) for value in values[:row] if value is not None]
        chance = f", of unrelated rows {one['unrelated']:.2f}" if one["unrelated"] is not None else ""
        notes.append(f"mean {np.mean(pairs):.2f}{chance}")
    return Shades(grids, f"{low:.1f}", f"{high:.1f}", next(iter(found.values()))["measure"], notes)


def confusion_grids(report: Report) -> list[Grid]:
    """Return the confusion matrix of all languages together, and those of the 12 weakest; empty where there are none.

    Args:
        report: whose `labels` hold confusion matrices.
    """
    found = confusions(report.metadata)
    metric = report.main_metric()
    weakest = weakest_first(report, metric) if metric is not None else []
    order = [one for one in (ALL_LANGUAGES, *weakest) if one in found]
    return [_confusion(one or "All languages", *found[one]) for one in order[: 1 + MOST_CONFUSIONS]]


def _confusion(title: str, names: Sequence[str], counts_LL: np.ndarray) -> Grid:
    kept = np.sort(np.argsort(-(counts_LL.sum(axis=0) + counts_LL.sum(axis=1)), kind="stable")[:MOST_LABELS])
    shares_LL = counts_LL / np.maximum(counts_LL.sum(axis=1, keepdims=True), 1)
    shown = [short_name(names[at]) for at in kept]
    cells = []
    for row, gold in enumerate(kept):
        for column, answer in enumerate(kept):
            if count := int(counts_LL[gold, answer]):
                share = float(shares_LL[gold, answer])
                title_text = f"{names[gold]} answered as {names[answer]}: {count} ({100 * share:.0f} %)"
                kind = "heat" if gold == answer else "miss"
                # A single miss among many would be invisible.
                shade = round(max(share, 0.12), 2)
                cells.append(Cell(column, row, shade, str(count), title_text, kind))
    more = f" (the {MOST_LABELS} most frequent of {len(names)} labels)" if len(names) > len(kept) else ""
    return Grid(title + more, shown, shown, cells, "gold label", "answer")


def label_grid(report: Report) -> Grid | None:
    """Return the F1 of each label in each language, rare labels last; None where labels are not told apart.

    Args:
        report: whose `labels` hold a report by label for each language.
    """
    by_language: Mapping[str, Any] = (report.metadata.get("labels") or {}).get("by_language") or {}
    reports = {key: one["report"] for key, one in by_language.items() if one.get("report")}
    support: dict[str, int] = {}
    for one in reports.values():
        for label, row in one.items():
            if label not in AVERAGES and isinstance(row, Mapping):
                support[label] = support.get(label, 0) + int(row["support"])
    labels = sorted(support, key=lambda label: -support[label])[:MOST_LABELS]
    if not labels:
        return None
    languages = list(reports)
    cells = []
    for row, label in enumerate(labels):
        for column, language in enumerate(languages):
            one = reports[language].get(label)
            if one is not None and one["support"]:
                value = float(one["f1-score"])
                title = f"{label}, {language}: F1 {100 * value:.1f} of {one['support']}"
                cells.append(Cell(column, row, round(value, 2), f"{100 * value:.0f}", title))
    return Grid("", [f"{short_name(one)} ({support[one]})" for one in labels], languages, cells, "label", "language")


def short_name(name: str) -> str:
    """Return a name that fits beside a grid."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _shade(value: float, low: float, high: float) -> float:
    return round(min(1.0, max(0.0, (value - low) / (high - low))), 3)


def _side(count: int) -> int:
    return _SIDES[0] if count <= _MOST_NUMBERED else _SIDES[1] if count <= _MOST_MIDDLE else _SIDES[2]


def _room(names: Sequence[str]) -> int:
    return round(_MARGIN + _CHARACTER * max((len(name) for name in names), default=0))
