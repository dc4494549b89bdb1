"""The summary of a sweep, written anew after each of its jobs, and shown at its end."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlembed.errors import ConfigError, MlembedError
from mlembed.faults import fault_point
from mlembed.files import write_atomically
from mlembed.report.metrics import METRICS, parse_metric
from mlembed.report.report import Report
from mlembed.run.directory import CONFIG, REPORT, redact
from mlembed.run.start import leaves, read_stored_config
from mlembed.run.sweep_plot import save_sweep_plot
from mlembed.strict_json import without_nan

SUMMARY, SUMMARY_TEXT = "summary.json", "summary.md"
# The last system of a report that is finished: of a training run, of an evaluation.
FINISHED = ("after", "student")
# Beside the metric that decides, the screen shows these.
SHOWN = ("retrieval", "cosine", "sts", "sts_cross", "macro_f1", "accuracy", "span_f1", "spearman")

Job = dict[str, Any]


def summarize(folder: Path) -> list[Job]:
    """Write summary.json and summary.md of the finished jobs in a sweep's folder, best first.

    Written after each job and from the files alone, it is right when jobs fail, when a launcher runs them in other
    processes, and when a sweep is killed.

    Returns:
        The finished jobs, as `finished_jobs` does.
    """
    configs = _configs(folder)
    jobs = finished_jobs(folder, configs)
    finished = {job["job"] for job in jobs}
    summary = {"jobs": jobs, "unfinished": [name for name in configs if name not in finished]}
    write_atomically(folder / SUMMARY, json.dumps(without_nan(summary), indent=2, ensure_ascii=False) + "\n")
    write_atomically(folder / SUMMARY_TEXT, _markdown(jobs))
    return jobs


def finished_jobs(folder: Path, configs: Mapping[str, Mapping[str, Any]] | None = None) -> list[Job]:
    """The finished jobs in a sweep's folder, best first.

    Args:
        folder: of the sweep.
        configs: the configuration of each job that began, where they have been read already.

    Returns:
        job (its folder), metric, value, settings (in which the jobs differ), means (of each metric).
    """
    configs = _configs(folder) if configs is None else configs
    varied = _varied({name: dict(leaves(config)) for name, config in configs.items()})
    jobs = [_finished(folder / name, config, varied) for name, config in configs.items()]
    return _best_first([job for job in jobs if job is not None])


def finished_value(folder: Path, config: Mapping[str, Any]) -> float | None:
    """What a job scored that was finished with the same settings before; None when it has to be run.

    So the same command goes on with a sweep that was killed, and runs nothing twice.
    """
    try:
        stored = read_stored_config(folder)
    except ConfigError:
        return None
    before = dict(leaves(stored))
    wanted = json.loads(redact(json.dumps(config)))
    # `auto` became what was chosen when the job began.
    changed = [key for key, value in leaves(wanted) if value not in (before.get(key), "auto") and key[:4] != "run."]
    job = None if changed else _finished(folder, stored, [])
    return None if job is None else float(job["value"])


def print_summary(folder: Path) -> None:
    """Show the finished jobs of a sweep as a table on standard output, best first, and draw them."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    fault_point("sweep.end")
    jobs = summarize(folder)
    if not jobs:
        return
    print(f"\nFinished jobs of the sweep, best first; more in {folder / SUMMARY_TEXT}")
    # A column more for the metric that decides, where it is that of one language.
    decides = [jobs[0]["metric"]] if len({job["metric"] for job in jobs}) == 1 else []
    metrics = [name for name in SHOWN if any(name in job["means"] for job in jobs) and name not in decides]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("job", *jobs[0]["settings"]):
        table.add_column(name, overflow="fold")
    for name in [*decides, *metrics]:
        table.add_column(_title(name), justify="right")
    for at, job in enumerate(jobs):
        settings = [_text(value) for value in job["settings"].values()]
        numbers = [_format(name, job["value"]) for name in decides]
        numbers += [_format(name, job["means"].get(name)) for name in metrics]
        table.add_row(job["job"], *settings, *numbers, style="bold" if at == 0 and decides else "")
    Console(file=sys.stdout).print(table)
    try:
        pictures = save_sweep_plot(jobs, folder)
    except Exception as error:  # a picture is never worth a sweep
        print(f"mlembed: the picture of the sweep was not made: {error}", file=sys.stderr)
    else:
        if pictures:
            print(f"picture: {pictures[0]}")


def _configs(folder: Path) -> dict[str, dict[str, Any]]:
    """The configurations of the jobs that began, by their folders' names, in the order of the sweep."""
    configs = {}
    for path in sorted(folder.glob(f"*/{CONFIG}"), key=lambda path: (len(path.parent.name), path.parent.name)):
        # A folder that is something else is nobody's job.
        with contextlib.suppress(ConfigError):
            configs[path.parent.name] = read_stored_config(path.parent)
    return configs


def _finished(folder: Path, config: Mapping[str, Any], varied: list[str]) -> Job | None:
    """What a job scored; None while it has no final report."""
    try:
        report = Report.from_json((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, MlembedError):
        return None
    if report.last not in FINISHED:
        return None
    metric = config.get("trainer", {}).get("metric") or report.main_metric() or "retrieval"
    try:
        value = report.value(metric)
    except MlembedError:
        value = math.nan
    settings = dict(leaves(config))
    return {
        "job": folder.name,
        "metric": metric,
        "value": value,
        "settings": {key: settings.get(key) for key in varied},
        "means": {name: report.mean(name) for name in report.metrics()},
    }


def _varied(configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Keys that have more than one value among the jobs, without those of the run itself."""
    keys = sorted({key for config in configs.values() for key in config if not key.startswith("run.")})
    return [key for key in keys if len({json.dumps(config.get(key)) for config in configs.values()}) > 1]


def _best_first(jobs: list[Job]) -> list[Job]:
    """Sorted by the metric that decides; as they were where the jobs have different ones, which cannot be compared."""
    if len({job["metric"] for job in jobs}) != 1:
        return jobs
    sign = -1.0 if METRICS[parse_metric(jobs[0]["metric"])[0]].better == "higher" else 1.0
    return sorted(jobs, key=lambda job: math.inf if math.isnan(job["value"]) else sign * job["value"])


def _markdown(jobs: list[Job]) -> str:
    metrics = list(dict.fromkeys(name for job in jobs for name in job["means"]))
    settings = list(jobs[0]["settings"]) if jobs else []
    head = ["job", *settings, *(_title(name) for name in metrics)]
    rows = [head, ["---"] * len(head)]
    for job in jobs:
        cells = [_text(value) for value in job["settings"].values()]
        rows.append([job["job"], *cells, *(_format(name, job["means"].get(name)) for name in metrics)])
    return "\n".join(["# Finished jobs, best first", "", *("| " + " | ".join(row) + " |" for row in rows), ""])


def _title(metric: str) -> str:
    name, _, language = metric.partition("/")
    return f"{METRICS[name].short} {language}".strip() if name != "retrieval" else metric


def _format(metric: str, value: float | None) -> str:
    return "-" if value is None else METRICS[parse_metric(metric)[0]].format(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
