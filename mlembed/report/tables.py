"""The report for people: `report.md`, and one table for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mlembed.report.estimate import Estimate
from mlembed.report.label_sections import details_section, gap_section, systems_note
from mlembed.report.metrics import METRICS
from mlembed.report.report import Report
from mlembed.report.sections import alarm_section, data_section, grid, vocabulary_section, width_section
from mlembed.report.systems import system_words
from mlembed.report.verdict import Judgment, find_verdict, points

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_VECTOR_METRICS = ("retrieval_to_source", "retrieval_from_source", "cosine", "sts", "sts_cross", "margin_error")
_LABEL_METRICS = (
    *("macro_f1", "accuracy", "consistency", "calibration_error"),
    *("span_f1", "span_precision", "span_recall"),
    *("spearman", "pearson"),
)
_JUDGMENTS: tuple[Judgment, ...] = ("better", "worse", "too close to call")


def markdown(report: Report, *, links: bool = True) -> str:
    """Return `report.md`: the result in words, a table for each metric, what the metrics mean, and the row counts.

    Args:
        report: what was measured.
        links: whether to link the pictures beside it; not for a text that lies elsewhere, as a model card.
    """
    parts = ["# Results by language", _summary(report)]
    if not report.metrics():
        return "\n\n".join(parts) + "\n"
    group = ""
    for name in report.metrics():
        if METRICS[name].group != group:
            group = METRICS[name].group
            parts.append(f"## {group}")
        parts.append(_metric_table(report, name))
    meanings = [
        f"- **{METRICS[name].title}**: {METRICS[name].meaning}. {METRICS[name].better.capitalize()} is better."
        for name in report.metrics()
    ]
    notes = (
        "Brackets: 95 % bootstrap interval over the rows. Means are over languages, each with the same weight. "
        "`-`: not measured, or not defined (a rank correlation needs vectors and scores that are not all equal)."
    )
    parts += [gap_section(report), "## What the numbers mean", "\n".join(meanings), systems_note(report), notes]
    parts += ["## Rows tested", _row_table(report)]
    parts += [section(report.metadata) for section in (alarm_section, width_section, data_section, vocabulary_section)]
    parts.append(details_section(report, links=links))
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(report: Report) -> str:
    weakest = report.weakest()
    if weakest is None:
        return f"Nothing was measured on {report.test_set}."
    language, metric = weakest
    known = METRICS[metric]
    measured = report.averaged(metric)
    score = (
        f"{system_words(report, report.last)} scores **{known.format(report.mean(metric))}** in {_lower(known.title)}"
    )
    sentence = f"On {report.test_set}, {score}"
    if len(measured) > 1:
        estimate = report.estimate(metric, language)
        lowest = known.format(estimate.value if estimate else math.nan)
        sentence += f", the mean of {len(measured)} languages; the weakest is **{language}** with {lowest}"
    verdicts = [_verdict(report, metric, system) for system in reversed(list(report.systems)[:-1])]
    return " ".join([f"{sentence}.", *verdicts])


def _verdict(report: Report, metric: str, baseline: str) -> str:
    """Return in words whether the last system improves on another, counting only intervals that do not overlap."""
    known, words = METRICS[metric], system_words(report, baseline)
    verdict = find_verdict(report, metric, baseline)
    if verdict is None:
        return f"{words[0].upper()}{words[1:]} was not measured in these languages."
    found = ", ".join(f"{word} in {len(held)}" for word in _JUDGMENTS if (held := verdict.languages(word)))
    languages = f"of {len(verdict.judged)} languages" if len(verdict.judged) > 1 else "language"
    change = points(metric, verdict.new - verdict.old)
    return f"Against {words} ({known.format(verdict.old)}): {change}; by the 95 % intervals {found} {languages}."


def _metric_table(report: Report, metric: str) -> str:
    known, systems = METRICS[metric], list(report.systems)
    rows = []
    main = report.weakest()
    for language in report.languages():
        estimates = [report.estimate(metric, language, system=system) for system in systems]
        if any(estimates):
            values = [known.format(one.value) if one else "-" for one in estimates[:-1]]
            mark = " (weakest)" if main == (language, metric) and len(report.languages()) > 1 else ""
            rows.append([language + mark, *values, _with_interval(metric, estimates[-1])])
    means = [known.format(report.mean(metric, system=system)) for system in systems]
    rows.append(["**mean**", *(f"**{mean}**" for mean in means)])
    return f"### {known.title}\n\n" + grid(["language", *systems], rows)


def _with_interval(metric: str, estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    known = METRICS[metric]
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return known.format(estimate.value)
    return f"{known.format(estimate.value)} [{known.format(estimate.low)}, {known.format(estimate.high)}]"


def _row_table(report: Report) -> str:
    counts = report.rows()
    kinds = [
        kind for kind in ("parallel", "sts", "sts_cross", "labelled") if any(kind in row for row in counts.values())
    ]
    rows = [[language, *(str(row.get(kind, "-")) for kind in kinds)] for language, row in counts.items()]
    return grid(["language", *kinds], rows)


def _lower(title: str) -> str:
    return title if title.startswith(("STS", "Spearman", "Pearson")) else title[0].lower() + title[1:]


def terminal_table(report: Report, *, width: int = 80) -> Table:
    """Return one table for the screen: a row a language, a column a metric, in it one number for each system.

    Metrics that do not fit the width are left to `report.md`, and the caption names them. Only ASCII is in the cells,
    for terminals that know nothing else.

    Args:
        report: what was measured.
        width: the columns of the terminal, in characters.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    languages, weakest = report.languages(), report.weakest()
    first = max([len("mean"), *(len(language) + 2 for language in languages)])
    shown, left = _fitting(report, room=width - first)
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        title=_title(shown),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column(Text("\nlang" if len(report.systems) > 1 else "lang"), no_wrap=True)
    for name in shown:
        table.add_column(_header(report, name), justify="right", no_wrap=True)
    for language in languages:
        values = {system: report.systems[system].get(language, {}) for system in report.systems}
        marked = weakest is not None and language == weakest[0] and len(languages) > 1
        cells = [
            _cell(report, name, [row[name].value if name in row else math.nan for row in values.values()])
            for name in shown
        ]
        table.add_row(Text(f"{language} *" if marked else language, style="bold yellow" if marked else ""), *cells)
    table.add_section()
    means = [_cell(report, name, [report.mean(name, system=system) for system in report.systems]) for name in shown]
    table.add_row(Text("mean", style="bold"), *means)
    table.caption = _caption(report, left)
    return table


def _fitting(report: Report, *, room: int) -> tuple[list[str], list[str]]:
    """Return the metrics whose columns fit into the room, and those that do not; 3 characters part two columns."""
    available = [name for name in (*_VECTOR_METRICS, *_LABEL_METRICS) if name in report.metrics()]
    shown: list[str] = []
    for name in available:
        room -= max(len(METRICS[name].short), sum(_widths(report, name)) + len(report.systems) - 1) + 3
        if room < 0 and shown:
            break
        shown.append(name)
    return shown, [METRICS[name].short for name in available[len(shown) :]]


def _widths(report: Report, metric: str) -> list[int]:
    """Return the characters that each system's numbers need; its name stands above them where there are several."""
    widths = []
    for system, scores in report.systems.items():
        values = [report.mean(metric, system=system), *(row[metric].value for row in scores.values() if metric in row)]
        numbers = max(len(METRICS[metric].format(value)) for value in values)
        widths.append(max(numbers, len(system)) if len(report.systems) > 1 else numbers)
    return widths


def _header(report: Report, metric: str) -> Text:
    """Return the metric above, and where there are several systems, their names below."""
    from rich.text import Text

    known = METRICS[metric]
    if len(report.systems) == 1:
        return Text(known.short)
    widths = _widths(report, metric)
    names = " ".join(name.rjust(width) for name, width in zip(report.systems, widths, strict=True))
    return Text(f"{known.short.center(len(names)).rstrip().ljust(len(names))}\n{names}")


def _cell(report: Report, metric: str, values: list[float]) -> Text:
    """Return the numbers of all systems side by side, the last one bold."""
    from rich.text import Text

    widths = _widths(report, metric)
    texts = [METRICS[metric].format(value).rjust(width) for value, width in zip(values, widths, strict=True)]
    cell = Text(" ".join(texts[:-1]) + (" " if len(texts) > 1 else ""))
    return cell.append(texts[-1], style="bold")


def _title(shown: list[str]) -> str:
    words = []
    if any(name.startswith("retrieval") for name in shown):
        words.append("retrieval at 1 (x100)")
    if "cosine" in shown:
        words.append("cosine to the teacher")
    if any(name.startswith("sts") for name in shown):
        words.append("STS Spearman (x100)")
    if labels := [METRICS[name].short for name in shown if name in _LABEL_METRICS]:
        words.append(f"{', '.join(labels)} (x100)")
    return ", ".join(words)


def _caption(report: Report, left: list[str]) -> Text:
    from rich.text import Text

    lines = []
    if report.weakest() is not None and len(report.languages()) > 1:
        lines.append(f"* the weakest language ({report.last})")
    if left:
        lines.append(f"in report.md: {', '.join(left)}")
    return Text("\n".join(lines))
