"""The summary of a sweep, written anew after each of its jobs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlembed.errors import MlembedError
from mlembed.files import write_atomically
from mlembed.report.report import Report
from mlembed.results import REPORT
from mlembed.start import CONFIG_FILE

SUMMARY, SUMMARY_TEXT = "summary.json", "summary.md"


def summarize(folder: Path) -> list[dict[str, Any]]:
    """Write summary.json and summary.md of the finished jobs in a sweep's folder, best first.

    Written after each job and from the files alone, it is right when jobs fail, when a launcher runs them in other
    processes, and when a sweep is killed.
    """
    configs: dict[str, dict[str, Any]] = {}
    jobs: list[dict[str, Any]] = []
    for path in sorted(folder.glob(f"*/{CONFIG_FILE}")):
        config = json.loads(path.read_text(encoding="utf-8"))
        configs[path.parent.name] = dict(_leaves(config))
        try:
            report = Report.from_json((path.parent / REPORT).read_text(encoding="utf-8"))
        except (OSError, MlembedError):
            continue
        if report.last != "after":
            continue
        metric = config["trainer"]["metric"]
        means = {name: report.mean(name) for name in report.metrics()}
        jobs.append({"job": path.parent.name, "metric": metric, "value": report.value(metric), "means": means})
    varied = _varied(configs)
    for job in jobs:
        job["settings"] = {key: configs[job["job"]].get(key) for key in varied}
    from mlembed.report.metrics import METRICS, parse_metric

    higher = all(METRICS[parse_metric(job["metric"])[0]].better == "higher" for job in jobs)
    jobs.sort(key=lambda job: job["value"], reverse=higher)
    write_atomically(folder / SUMMARY, json.dumps({"jobs": jobs}, indent=2, ensure_ascii=False) + "\n")
    write_atomically(folder / SUMMARY_TEXT, _markdown(jobs, varied))
    return jobs


def _leaves(node: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in node.items():
        leaves += _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return leaves


def _varied(configs: dict[str, dict[str, Any]]) -> list[str]:
    """Keys that have more than one value among the jobs, without those of the run itself."""
    keys = sorted({key for config in configs.values() for key in config if not key.startswith("run.")})
    return [key for key in keys if len({json.dumps(config.get(key)) for config in configs.values()}) > 1]


def _markdown(jobs: list[dict[str, Any]], varied: list[str]) -> str:
    metrics = list(dict.fromkeys(name for job in jobs for name in job["means"]))
    lines = ["| job | " + " | ".join([*varied, *metrics]) + " |", "|" + " --- |" * (1 + len(varied) + len(metrics))]
    for job in jobs:
        cells = [str(job["settings"][key]) for key in varied]
        cells += [f"{job['means'][name]:.4f}" if name in job["means"] else "" for name in metrics]
        lines.append("| " + " | ".join([job["job"], *cells]) + " |")
    return "\n".join(["# Finished jobs, best first", "", *lines, ""])
