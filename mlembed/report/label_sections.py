"""Parts of `report.md` for tasks with labels: the distance to the source language, and each label by language."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mlembed.report.label_plots import confusion_picture
from mlembed.report.metrics import METRICS
from mlembed.report.report import Report
from mlembed.report.sections import grid
from mlembed.report.systems import about_labels, system_words

_COLUMNS = ("precision", "recall", "f1-score")


def systems_note(report: Report) -> str:
    """Return what the names above the columns stand for; empty where the report is not about labels.

    Args:
        report: what was measured.
    """
    if not about_labels(report):
        return ""
    words = "; ".join(f"**{name}**, {system_words(report, name)}" for name in report.systems)
    measured = {frozenset(scores) for scores in report.systems.values()}
    uneven = " Where a system has no number (`-`) in a language, its mean is over fewer languages than that of others."
    return f"Systems: {words}.{uneven if len(measured) > 1 else ''}"


def gap_section(report: Report) -> str:
    """Return how many points of the main metric each language lacks to the source language, for each system.

    Args:
        report: what was measured; `source_language` of its metadata says what to compare with.

    Returns:
        Markdown; empty where no system was measured in the source language, or the report is not about labels.
    """
    source, metric = report.metadata.get("source_language"), report.main_metric()
    if not about_labels(report) or metric is None or source is None:
        return ""
    systems = [name for name in report.systems if report.estimate(metric, source, system=name) is not None]
    gaps = {language: _gaps(report, metric, language, source, systems) for language in report.languages()}
    gaps = {language: row for language, row in gaps.items() if language != source and row}
    if not gaps:
        return ""
    rows = [[language, *(_points(metric, row.get(name)) for name in systems)] for language, row in gaps.items()]
    means = [_points(metric, _mean([row[name] for row in gaps.values() if name in row])) for name in systems]
    rows.append(["**mean**", *(f"**{mean}**" for mean in means)])
    note = (
        f"{METRICS[metric].title} in the source language ({source}) minus that in the language, both by the same "
        "system: 0 is as good as the source, below 0 is better."
    )
    return "\n\n".join(["## Gap to the source language", note, grid(["language", *systems], rows)])


def _gaps(report: Report, metric: str, language: str, source: str, systems: list[str]) -> dict[str, float]:
    """Return the gap of each system that was measured in the language."""
    gaps = {}
    for system in systems:
        here, there = (report.estimate(metric, key, system=system) for key in (language, source))
        if here is not None and there is not None:
            gaps[system] = there.value - here.value
    return gaps


def _points(metric: str, gap: float | None) -> str:
    return "-" if gap is None else METRICS[metric].format(gap)


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def details_section(report: Report, *, links: bool = True) -> str:
    """Return precision, recall and F1 of each label by language, with a link to the picture of the confusion matrix.

    Args:
        report: what was measured; `labels` of its metadata holds `by_language`: language -> what `label_details` or
            `tag_details` gave.
        links: whether to link the picture of the confusion matrix.

    Returns:
        Markdown; empty where there are no such details.
    """
    by_language = (report.metadata.get("labels") or {}).get("by_language") or {}
    if not by_language:
        return ""
    picture = confusion_picture(report.metadata) if links else None
    parts = [
        "## Labels by language",
        f"Of {system_words(report, report.last)}: precision, recall and F1 of each label (x100), and how often it "
        "occurs in the test data (support). Labels that neither occur nor are answered are left out.",
        f"[Confusion matrix of all languages together](plots/{picture})" if picture else "",
    ]
    for language, details in by_language.items():
        parts += [f"### Labels, {language}", _report_table(details["report"])]
    return "\n\n".join(part for part in parts if part)


def _report_table(report: Mapping[str, Any]) -> str:
    """Return the table that scikit-learn and seqeval print."""
    rows = []
    for name, row in report.items():
        if isinstance(row, Mapping):
            rows.append([_one_line(name), *(f"{100 * row[key]:.1f}" for key in _COLUMNS), str(row["support"])])
        else:
            rows.append([name, "", "", f"{100 * row:.1f}", ""])
    if not rows:
        return "There are no spans, neither in the test data nor in the answers."
    return grid(["label", "precision", "recall", "F1", "support"], rows)


def _one_line(name: str) -> str:
    """Return a label as a cell of a Markdown table can hold it."""
    return " ".join(name.split()).replace("|", "\\|")
