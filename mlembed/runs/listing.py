"""`mlembed runs ls`: all runs and sweeps below a folder."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlembed.report.metrics import METRICS, parse_metric
from mlembed.runs.sheet import Row, Sheet, Table
from mlembed.runs.stored_run import StoredRun
from mlembed.runs.stored_sweep import StoredSweep, best_first, rank

Found = StoredRun | StoredSweep
HEAD = ["run", "state", "task", "student", "languages", "date (UTC)", "metric", "before", "after", "steps", "time"]
# Columns of text, before those of numbers.
LEFT = 7
# So many languages are named; of more, the number is.
NAMED = 4


def ordered(found: Sequence[Found], *, metric: str | None) -> list[Found]:
    """Runs and sweeps, the newest first, or the best by a metric first."""
    newest = sorted(found, key=lambda one: -(_began(one) or 0.0))
    if metric is None:
        return newest
    return sorted(newest, key=lambda one: rank(_value(one, metric), metric))


def jobs_in_order(sweep: StoredSweep, *, metric: str | None) -> list[StoredRun]:
    """The jobs of a sweep, the best first where a metric says which; others as they were run."""
    metric = metric or sweep.metric
    return best_first(sweep.jobs, metric) if metric else sweep.jobs


def list_sheet(found: Sequence[Found], *, folder: Path, metric: str | None) -> Sheet:
    """The table of `runs ls`.

    Args:
        found: in their order.
        folder: where they were looked for; paths are relative to it.
        metric: what is shown; None: the metric that decides in each.
    """
    rows: list[Row] = []
    for one in found:
        if isinstance(one, StoredRun):
            name = _relative(one.path, folder)
            rows.append(Row([name, *_cells(one, metric)], style=_style(one)))
        else:
            rows += _sweep_rows(one, folder=folder, metric=metric)
    runs = sum(isinstance(one, StoredRun) for one in found)
    counted = f"{_count(runs, 'run')} and {_count(len(found) - runs, 'sweep')} in {folder}"
    table = [Table("", HEAD, rows, left=LEFT)] if rows else []
    notes = [f"{_relative(one.path, folder)}: {one.state}: {one.why}" for one in _runs(found) if one.why]
    return Sheet(f"Runs in {folder}", [*table, *notes, counted])


def list_json(found: Sequence[Found], *, folder: Path, metric: str | None) -> dict[str, Any]:
    """`runs ls --json`; the keys are frozen by a test."""
    runs = [run_json(one, metric=metric) for one in found if isinstance(one, StoredRun)]
    sweeps = [_sweep_json(one, metric=metric) for one in found if isinstance(one, StoredSweep)]
    return {"folder": str(folder), "runs": runs, "sweeps": sweeps}


def run_json(run: StoredRun, *, metric: str | None = None) -> dict[str, Any]:
    """A run as programs read it."""
    metric = metric or run.metric
    return {
        "path": str(run.path),
        "state": run.state,
        "why": run.why,
        "verb": run.verb,
        "task": run.task,
        "student": run.start,
        "languages": run.languages,
        "steps": run.steps,
        "metric": metric,
        "before": run.value(metric, system="before"),
        "after": run.value(metric),
        "seconds": run.seconds,
        "date": None if run.began is None else utc(run.began, "%Y-%m-%dT%H:%M:%SZ"),
    }


def _sweep_json(sweep: StoredSweep, *, metric: str | None) -> dict[str, Any]:
    best = sweep.best(metric)
    jobs = jobs_in_order(sweep, metric=metric)
    return {
        "path": str(sweep.path),
        "state": sweep.state,
        "command": sweep.command,
        "count": sweep.count,
        "finished": len(sweep.finished),
        "metric": metric or sweep.metric,
        "best": None if best is None else str(best.path),
        "jobs": [{"job": job.path.name, "label": sweep.label(job), **run_json(job, metric=metric)} for job in jobs],
    }


def _sweep_rows(sweep: StoredSweep, *, folder: Path, metric: str | None) -> list[Row]:
    """The sweep with its best run, and below it its jobs."""
    best = sweep.best(metric)
    shown = _cells(best, metric) if best else _cells(sweep.jobs[0], metric) if sweep.jobs else [""] * (len(HEAD) - 1)
    shown[0] = f"{sweep.state} {len(sweep.finished)}/{sweep.count}"
    name = _relative(sweep.path, folder)
    rows = [Row([f"{name}: best is {best.path.name}" if best else name, *shown], style="group")]
    for job in jobs_in_order(sweep, metric=metric):
        cells = [f"  {job.path.name} {sweep.label(job)}".rstrip(), *_cells(job, metric)]
        rows.append(Row(cells, style="best" if best and job.path == best.path else _style(job)))
    return rows


def _cells(run: StoredRun, metric: str | None) -> list[str]:
    metric = metric or run.metric
    languages = [one for one in run.languages if one != run.text("data.source_language")] or run.languages
    named = " ".join(languages) if len(languages) <= NAMED else f"{len(languages)} languages"
    return [
        run.state,
        run.task or "-",
        run.start or "-",
        named or "-",
        "-" if run.began is None else utc(run.began, "%Y-%m-%d %H:%M"),
        metric or "-",
        formatted(metric, run.value(metric, system="before")),
        formatted(metric, run.value(metric)),
        "-" if run.steps is None else str(run.steps),
        "-" if run.seconds is None else duration(run.seconds),
    ]


def _style(run: StoredRun) -> str:
    return run.state if run.state in ("running", "failed", "broken") else ""


def _runs(found: Sequence[Found]) -> list[StoredRun]:
    return [run for one in found for run in ([one] if isinstance(one, StoredRun) else one.jobs)]


def _value(one: Found, metric: str) -> float:
    run = one if isinstance(one, StoredRun) else one.best(metric)
    return math.nan if run is None else run.value(metric)


def _began(one: Found) -> float | None:
    if isinstance(one, StoredRun):
        return one.began
    return max((job.began for job in one.jobs if job.began is not None), default=None)


def _relative(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path != folder and path.is_relative_to(folder) else str(path)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def formatted(metric: str | None, value: float) -> str:
    """A value as tables show it."""
    return "-" if metric is None else METRICS[parse_metric(metric)[0]].format(value)


def utc(seconds: float, pattern: str) -> str:
    """A time in UTC; what is no time is a dash."""
    try:
        return time.strftime(pattern, time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "-"


def duration(seconds: float) -> str:
    """Seconds as people say it: 45s, 12m, 3h20."""
    if not seconds < 1e9:
        return "-"
    minutes, hours = int(seconds / 60 + 0.5), int(seconds // 3600)
    if seconds < 100:
        return f"{seconds:.0f}s"
    return f"{minutes}m" if minutes < 100 else f"{hours}h{int(seconds // 60) % 60:02d}"
