"""Tables of the page: scores by language, rows and tokens, and the hardest rows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlembed.report.metrics import METRICS
from mlembed.report.page.bars import interval_text
from mlembed.report.page.story import weakest_first
from mlembed.report.report import Report
from mlembed.report.sections import VOCABULARY_NOTE, WIDTHS_NOTE
from mlembed.report.systems import system_words

# A bound of the page's size.
MOST_HARD_ROWS = 36
_TAG = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*")


@dataclass(frozen=True)
class Value:
    """A cell of a table: a number as it is shown, and its interval."""

    text: str
    interval: str = ""


@dataclass(frozen=True)
class HtmlTable:
    """A table; the first column names the rows.

    Args:
        title: above it.
        note: what it shows.
        header: names of the columns.
        rows: the cells of each row.
        foot: the last row, or empty.
        marked: the first cells of rows that stand out.
    """

    title: str
    note: str
    header: list[str]
    rows: list[list[Value]]
    foot: list[Value] = field(default_factory=list)
    marked: tuple[str, ...] = ()


def metric_tables(report: Report) -> list[HtmlTable]:
    """Return a table for each metric: languages, systems, means.

    Args:
        report: what was measured.
    """
    found, weakest = [], report.weakest()
    for metric in report.metrics():
        known, rows = METRICS[metric], []
        for language in report.languages():
            estimates = [report.estimate(metric, language, system=system) for system in report.systems]
            if any(estimates):
                cells = [
                    Value(known.format(one.value), interval_text(metric, one)) if one else Value("-")
                    for one in estimates
                ]
                rows.append([Value(language), *cells])
        foot = [Value("mean"), *(Value(known.format(report.mean(metric, system=one))) for one in report.systems)]
        marked = (weakest[0],) if weakest is not None and weakest[1] == metric and len(rows) > 1 else ()
        note = f"{known.meaning[0].upper()}{known.meaning[1:]}. {known.better.capitalize()} is better."
        found.append(HtmlTable(known.title, note, ["language", *report.systems], rows, foot, marked))
    return found


def other_tables(report: Report) -> list[HtmlTable]:
    """Return what was read, what was tested, how the tokenizers cut it, and the student cut to fewer dimensions.

    Args:
        report: whose metadata hold the counts.
    """
    tables = [_tested(report), _read(report.metadata), _vocabulary(report.metadata), _widths(report.metadata)]
    return [table for table in tables if table.rows]


def _tested(report: Report) -> HtmlTable:
    counts = report.rows()
    kinds = list(dict.fromkeys(kind for row in counts.values() for kind in row))
    rows = [_values(language, *(row.get(kind, "-") for kind in kinds)) for language, row in counts.items() if row]
    return HtmlTable("Rows tested", f"On {report.test_set}.", ["language", *kinds], rows)


def _read(metadata: Mapping[str, Any]) -> HtmlTable:
    rows = [
        _values(part, one["read"], one["bad"], one["kept"], _reasons(one["filtered"]))
        for part, one in (metadata.get("data") or {}).items()
        if part != "used"
    ]
    note = "Rows of each set of files: bad ones cannot be read, filtered ones are dropped for the reasons named."
    return HtmlTable("Rows read", note, ["", "read", "bad", "kept", "filtered"], rows)


def _reasons(filtered: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(filtered.items())) or "none"


def _vocabulary(metadata: Mapping[str, Any]) -> HtmlTable:
    measured = metadata.get("vocabulary") or {}
    systems = list(dict.fromkeys(system for language in measured.values() for system in language))
    rows = []
    for language, one in measured.items():
        words = [f"{one[system]['tokens_per_word']:.2f}" for system in systems]
        unknown = [f"{100 * one[system]['unknown']:.1f} %" for system in systems]
        rows.append(_values(language, *words, *unknown))
    header = ["language", *(f"{what}, {system}" for what in ("tokens a word", "unknown") for system in systems)]
    return HtmlTable("Vocabulary", VOCABULARY_NOTE, header, rows)


def _widths(metadata: Mapping[str, Any]) -> HtmlTable:
    widths = metadata.get("widths") or {}
    names = list(next(iter(widths.values()), {}))
    numbers = {
        width: [METRICS[name].format(math.nan if means[name] is None else means[name]) for name in names]
        for width, means in widths.items()
    }
    rows = [_values(width, *values) for width, values in numbers.items()]
    return HtmlTable("Widths", WIDTHS_NOTE, ["dimensions", *(METRICS[name].title for name in names)], rows)


def _values(*cells: object) -> list[Value]:
    return [Value(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in cells]


@dataclass(frozen=True)
class HardRow:
    """A row with its texts, and its numbers in words."""

    language: str
    tag: str
    text: str
    expected: str
    answer: str
    numbers: str
    wrong: bool


@dataclass(frozen=True)
class HardRows:
    """The hardest rows, and what the two texts beside each are called."""

    expected: str
    answer: str
    source_tag: str
    rows: list[HardRow]
    note: str


def hard_rows(report: Report) -> HardRows | None:
    """Return the hardest rows, those of the weakest language first; None where none are known.

    Of each language the hardest one is shown before the second of any other.

    Args:
        report: with its details.
    """
    metric = report.main_metric()
    kept: list[Mapping[str, Any]] = []
    by_language: dict[str, list[Mapping[str, Any]]] = {}
    for row in report.details.hard_rows:
        by_language.setdefault(row["language"], []).append(row)
    order = weakest_first(report, metric) if metric is not None else []
    order = [one for one in order if one in by_language] + [one for one in by_language if one not in order]
    for place in range(max((len(rows) for rows in by_language.values()), default=0)):
        kept += [by_language[one][place] for one in order if place < len(by_language[one])]
    kept = sorted(kept[:MOST_HARD_ROWS], key=lambda row: order.index(row["language"]))
    if not kept:
        return None
    of_vectors = "answer_score" in kept[0]
    words = ("its source", "nearest other") if of_vectors else ("people say", "answer")
    rows = [
        HardRow(
            row["language"],
            language_tag(row["language"]),
            row["text"],
            row["expected"],
            row["answer"],
            _numbers(row, metric),
            bool(row["wrong"]),
        )
        for row in kept
    ]
    source = language_tag(report.details.source_language or "") if of_vectors else ""
    who = system_words(report, report.last)
    note = (
        f"The translations whose own source is least nearer than another one, by {who}. “Missed” means that another is "
        "nearer; where none is missed, these are the closest calls."
        if of_vectors
        else f"The answers of {who} that are furthest from what people said. Some may be mistakes of people."
    )
    return HardRows(*words, source, rows, note)


def _numbers(row: Mapping[str, Any], metric: str | None) -> str:
    score = row["score"]
    if score is None:
        return ""
    if "answer_score" in row:
        return f"cosine {score:.2f} to its own, {row['answer_score']:.2f} to the other"
    if metric == "span_f1":
        return f"{score:.0f} names differ"
    return f"off by {score:.2f}" if metric == "spearman" else f"{100 * score:.0f} % sure"


def language_tag(code: str) -> str:
    """Return a language code as HTML knows it, for fonts and screen readers; empty where it is none."""
    return code.replace("_", "-") if _TAG.fullmatch(code) else ""
