"""`mlembed runs show`: all that is worth knowing of one run, or of one sweep."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlembed.errors import DataError
from mlembed.files import open_plain_file
from mlembed.report.estimate import Estimate
from mlembed.report.metrics import METRICS, parse_metric
from mlembed.report.report import Report
from mlembed.run.directory import CHECKPOINTS, COMMAND, ENVIRONMENT, LOG, STUDENT
from mlembed.run.sweep_plot import PICTURES
from mlembed.runs.defaults import differences_to_defaults, shown
from mlembed.runs.listing import duration, jobs_in_order, list_json, list_sheet, run_json, utc
from mlembed.runs.reading import last_lines, read_json, read_text, sizes
from mlembed.runs.sheet import Lines, Row, Sheet, Table
from mlembed.runs.stored_run import StoredRun
from mlembed.runs.stored_sweep import StoredSweep

# Of a log that ended badly.
LOG_LINES = 15
MAX_TEXT_BYTES = 1 << 20
MAX_PICTURE_BYTES = 1 << 23
PNG = b"\x89PNG\r\n\x1a\n"


def run_sheet(run: StoredRun) -> Sheet:
    """What `runs show` shows of a run."""
    parts: list[Table | Lines | str] = [_about(run)]
    if run.config:
        choices, differing = differences_to_defaults(run.config, verb=run.verb)
        rows = [Row([key, shown(value), shown(default)]) for key, value, default in differing]
        title = " ".join(["Configuration", *(f"{group}={choice}" for group, choice in choices.items())])
        parts.append(Table(title, ["different from the defaults", "here", "default"], rows, left=3))
    if run.report is not None:
        parts += [_data_table(run.report), *result_tables(run.report, run.metric)]
    if environment := _environment(run.path):
        parts.append(
            Table("Environment", ["", ""], [Row([name, value]) for name, value in environment.items()], left=2)
        )
    if models := _models(run):
        rows = [Row([str(one["path"]), _megabytes(one["bytes"])]) for one in models]
        parts.append(Table("Models", ["where", "size"], rows))
    if run.state in ("failed", "interrupted", "broken") and (lines := last_lines(run.path / LOG)[-LOG_LINES:]):
        parts.append(Lines(f"The end of {run.path / LOG}", lines))
    return Sheet(f"{run.path}: {run.state}", [part for part in parts if part])


def run_document(run: StoredRun) -> dict[str, Any]:
    """`runs show --json`; the keys are frozen by a test."""
    choices, differing = differences_to_defaults(run.config, verb=run.verb) if run.config else ({}, [])
    metadata = run.report.metadata if run.report else {}
    return {
        **run_json(run),
        "choices": choices,
        "different": {key: {"value": value, "default": default} for key, value, default in differing},
        "config": run.config,
        "commands": _commands(run.path),
        "data": metadata.get("data"),
        "environment": _environment(run.path),
        "systems": {name: _scores(run.report, name) for name in run.report.systems} if run.report else {},
        "models": _models(run),
        "log": last_lines(run.path / LOG)[-LOG_LINES:],
    }


def sweep_sheet(sweep: StoredSweep) -> Sheet:
    """What `runs show` shows of a sweep: its jobs, as `runs ls` does, its command and its picture."""
    listed = list_sheet([sweep], folder=sweep.path, metric=None)
    command = [Lines("Command", [sweep.command])] if sweep.command else []
    return Sheet(f"{sweep.path}: {sweep.state}", [*listed.parts, *command], picture=_picture(sweep.path / PICTURES[0]))


def sweep_document(sweep: StoredSweep) -> dict[str, Any]:
    """`runs show --json` of a sweep: what `runs ls --json` has of it, and each job as a run has it."""
    (document,) = list_json([sweep], folder=sweep.path, metric=None)["sweeps"]
    jobs = [run_document(job) for job in jobs_in_order(sweep, metric=None)]
    return {**document, "jobs": [{**listed, **job} for listed, job in zip(document["jobs"], jobs, strict=True)]}


def _about(run: StoredRun) -> Table:
    metadata = run.report.metadata if run.report else {}
    known = {
        "run": str(run.path),
        "state": f"{run.state}: {run.why}" if run.why else run.state,
        "task": run.task,
        "evaluated" if run.verb == "eval" else "student": run.start,
        "teacher": run.text("teacher.name" if run.verb == "eval" else "model.teacher.name"),
        "languages": " ".join(run.languages),
        "began": "" if run.began is None else utc(run.began, "%Y-%m-%d %H:%M:%S UTC"),
        "time": "" if run.seconds is None else duration(run.seconds),
        "steps": "" if run.steps is None else f"{run.steps}{_best_step(metadata)}",
        "precision": shown(metadata.get("precision", "")),
        "command": "\n".join(_commands(run.path)[-1:]),
    }
    return Table("", ["", ""], [Row([name, value]) for name, value in known.items() if value], left=2)


def _best_step(metadata: Mapping[str, Any]) -> str:
    best = metadata.get("best_step")
    return f", the best at {best}" if isinstance(best, int) else ""


def _data_table(report: Report) -> Table:
    """How many rows were used of each part, by language; what was read where that is all that is known."""
    counts = report.metadata.get("data")
    counts = counts if isinstance(counts, Mapping) else {}
    rows = []
    for part, about in counts.items():
        if isinstance(about, Mapping) and "kept" in about:
            rows.append(Row([f"{part}, read", _by_language(about.get("kept_by_language")), shown(about["kept"])]))
    used = counts.get("used")
    for part, about in used.items() if isinstance(used, Mapping) else ():
        if isinstance(about, Mapping) and "rows" in about:
            rows.append(Row([f"{part}, used", _by_language(about.get("languages")), shown(about["rows"])]))
    return Table(f"Data; tested on {report.test_set}", ["rows", "by language", "all"], rows, left=2)


def _by_language(counts: Any) -> str:
    return " ".join(f"{key} {value}" for key, value in counts.items()) if isinstance(counts, Mapping) else ""


def result_tables(report: Report, metric: str | None) -> list[Table]:
    """The means of all metrics, and one metric by language with the intervals of the last system."""
    systems = list(report.systems)
    rows = [
        Row([METRICS[name].title, *(METRICS[name].format(report.mean(name, system=system)) for system in systems)])
        for name in report.metrics()
    ]
    tables = [Table("Means over the languages", ["", *systems], rows)] if rows else []
    if metric is None:
        return tables
    name = parse_metric(metric)[0]
    by_language = []
    for language in report.languages():
        estimates = [report.estimate(name, language, system=system) for system in systems]
        values = ["-" if one is None else METRICS[name].format(one.value) for one in estimates]
        by_language.append(Row([language, *values, _interval(name, estimates[-1])]))
    title = f"{METRICS[name].title} by language"
    return [*tables, Table(title, ["", *systems, "95 % interval"], by_language)]


def _interval(metric: str, estimate: Estimate | None) -> str:
    if estimate is None or math.isnan(estimate.low) or math.isnan(estimate.high):
        return "-"
    return f"{METRICS[metric].format(estimate.low)} to {METRICS[metric].format(estimate.high)}"


def _scores(report: Report, system: str) -> dict[str, Any]:
    return {
        "mean": {name: report.mean(name, system=system) for name in report.metrics()},
        "languages": {
            language: {name: {"value": one.value, "low": one.low, "high": one.high} for name, one in row.items()}
            for language, row in report.systems[system].items()
        },
    }


def _environment(run: Path) -> dict[str, str]:
    try:
        content = read_json(run / ENVIRONMENT, most_bytes=MAX_TEXT_BYTES)
    except DataError:
        return {}
    if not isinstance(content, dict):
        return {}
    versions = content.pop("versions", {})
    packages = versions.items() if isinstance(versions, Mapping) else ()
    return {str(name): shown(value) for name, value in (*content.items(), *packages)}


def _commands(run: Path) -> list[str]:
    """What was given at each start."""
    try:
        return read_text(run / COMMAND, most_bytes=MAX_TEXT_BYTES).splitlines()
    except DataError:
        return []


def _models(run: StoredRun) -> list[dict[str, Any]]:
    """The checkpoints, the newest last, and the best student for other tools."""
    checkpoints = run.path / CHECKPOINTS
    folders = [one for one in checkpoints.glob("step-*") if one.name[5:].isdecimal() and not one.is_symlink()]
    folders = sorted(folders, key=lambda one: int(one.name[5:])) if not checkpoints.is_symlink() else []
    student = run.path / STUDENT
    folders += [student] if student.is_dir() and not student.is_symlink() else []
    return [{"path": str(folder), "bytes": sizes(folder)} for folder in folders]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _picture(path: Path) -> bytes | None:
    """The picture of a sweep; None where there is none, or it is something else."""
    try:
        with os.fdopen(open_plain_file(path), "rb") as file:
            content = file.read(MAX_PICTURE_BYTES)
    except OSError:
        return None
    return content if content.startswith(PNG) else None
