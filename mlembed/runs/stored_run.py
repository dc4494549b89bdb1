"""One run as its directory tells it: its state, what was asked, what came of it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlembed.errors import DataError, MlembedError
from mlembed.report.metrics import METRICS
from mlembed.report.report import Report
from mlembed.run.directory import (
    BENCHMARK,
    COMMAND,
    CONFIG,
    ENVIRONMENT,
    LOCK,
    LOG,
    MTEB_SCORES,
    PRUNED,
    REPORT,
    holder_of,
)
from mlembed.run.directory import METRICS as STEPS
from mlembed.run.start import MAX_CONFIG_BYTES
from mlembed.run.sweep import FINISHED
from mlembed.runs.reading import failure, last_step, read_json

# Reports have a few hundred kilobytes; that of hundreds of languages and labels has some megabytes.
MAX_REPORT_BYTES = 1 << 26

State = Literal["running", "finished", "pruned", "interrupted", "failed", "broken"]


@dataclass(frozen=True)
class StoredRun:
    """A run directory.

    Args:
        path: where it lies.
        state: running (a process holds it), finished (it has its final report, or what its verb writes instead), pruned
            (its study ended it), failed (an error ended it), interrupted (a signal, a kill or a power cut ended it),
            broken (its configuration or its report cannot be read).
        why: who holds it, what failed, what cannot be read; empty otherwise.
        config: its configuration; empty where that cannot be read.
        report: the final report, None without one.
        steps: the last training step.
        began: when it was started last, in seconds since 1970.
        seconds: how long that took, or takes until now.
    """

    path: Path
    state: State
    why: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    report: Report | None = None
    steps: int | None = None
    began: float | None = None
    seconds: float | None = None

    @property
    def verb(self) -> str:
        """The verb that made it: train, eval or bench."""
        return "eval" if "target" in self.config else "bench" if "bench" in self.config else "train"

    @property
    def task(self) -> str:
        """What was learnt, or measured."""
        task = self.text("task_kind" if self.verb == "eval" else "task.kind")
        return task if self.verb == "train" else f"{self.verb} {task}".rstrip()

    @property
    def start(self) -> str:
        """How the student started; of an evaluation, what was evaluated."""
        return self.text("target" if self.verb == "eval" else "model.kind")

    @property
    def languages(self) -> list[str]:
        """The languages that were asked for, or those that were found."""
        data = self.config.get("data")
        asked = data.get("languages") if isinstance(data, Mapping) else None
        if isinstance(asked, list) and asked:
            return [str(language) for language in asked]
        return list(self.report.languages()) if self.report else []

    @property
    def metric(self) -> str | None:
        """The metric that decides: the configured one where it was measured, else the main one of the report."""
        if self.report is None:
            return None
        return next((one for one in (self.text("trainer.metric"),) if self.has(one)), self.report.main_metric())

    def has(self, metric: str) -> bool:
        """Whether a metric, such as `retrieval` or `retrieval/de`, was measured."""
        return not math.isnan(self.value(metric))

    def value(self, metric: str | None, *, system: str | None = None) -> float:
        """What the student reached, or another system; nan where that was not measured."""
        if self.report is None or metric is None:
            return math.nan
        try:
            return self.report.value(metric, system=system)
        except MlembedError:
            return math.nan

    def text(self, key: str) -> str:
        """The text at a dotted key of the configuration; empty where there is none."""
        node: Any = self.config
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        return node if isinstance(node, str) else ""


def looks_like_run(names: set[str]) -> bool:
    """Whether a folder with these names in it is a run directory, perhaps a damaged one.

    A config.json alone is not enough: models have one too.
    """
    return LOCK in names or (CONFIG in names and bool({COMMAND, ENVIRONMENT, LOG, STEPS, REPORT} & names))


def read_run(path: Path) -> StoredRun:
    """Read a run directory; whatever is in it, there is a state for it."""
    holder = holder_of(path)
    config, config_problem = _read_config(path)
    report, report_problem = _read_report(path)
    state: State = "interrupted"
    why = ""
    if holder is not None:
        state, why = "running", holder
    elif problem := config_problem or report_problem:
        state, why = "broken", problem
    elif report is not None or any((path / name).is_file() for name in (MTEB_SCORES, BENCHMARK)):
        state = "finished"
    elif (path / PRUNED).is_file():
        state = "pruned"
    elif (error := failure(path)) is not None:
        state, why = "failed", error
    metadata = report.metadata if report and holder is None else {}
    steps = metadata.get("steps")
    began, seconds = _times(path, metadata)
    if holder is not None and began is not None:
        seconds = max(0.0, time.time() - began)
    return StoredRun(
        path=path,
        state=state,
        why=why,
        config=config,
        report=report,
        steps=steps if isinstance(steps, int) else last_step(path),
        began=began,
        seconds=seconds,
    )


def _read_config(path: Path) -> tuple[dict[str, Any], str]:
    """A configuration of any version, and what is wrong with it."""
    if not (path / CONFIG).exists() and not (path / CONFIG).is_symlink():
        return {}, f"it was ended before its {CONFIG} was written"
    try:
        config = read_json(path / CONFIG, most_bytes=MAX_CONFIG_BYTES)
    except DataError as error:
        return {}, str(error)
    if not isinstance(config, dict) or not isinstance(config.get("data"), dict):
        return {}, f"{CONFIG} is not the configuration of a run"
    return config, ""


def _read_report(path: Path) -> tuple[Report | None, str]:
    """The final report, without metrics that only another version knows; and why one that is there cannot be read."""
    if not (path / REPORT).exists() and not (path / REPORT).is_symlink():
        return None, ""
    try:
        report = Report.from_document(_known_metrics(read_json(path / REPORT, most_bytes=MAX_REPORT_BYTES)))
    except DataError as error:
        return None, str(error) if REPORT in str(error) else f"{REPORT}: {error}"
    return (report if report.last in FINISHED else None), ""


def _known_metrics(document: Any) -> Any:
    try:
        for system in document["systems"].values():
            for language, row in system["languages"].items():
                system["languages"][language] = {name: one for name, one in row.items() if name in METRICS}
    except (KeyError, TypeError, AttributeError):
        pass  # a report of another kind, which is refused by whoever reads it
    return document


def _times(path: Path, metadata: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """When the last start was, and how long it lasted: as the report says, else as the files' times do."""
    began, seconds = metadata.get("began"), metadata.get("seconds")
    written = {name: _time_of(path / name) for name in (ENVIRONMENT, CONFIG, LOG, REPORT)}
    if not isinstance(began, int | float):
        began = written[ENVIRONMENT] or written[CONFIG] or _time_of(path)
    if not isinstance(seconds, int | float):
        ended = max((time for time in written.values() if time is not None), default=None)
        seconds = None if began is None or ended is None else max(0.0, ended - began)
    return began, seconds


def _time_of(path: Path) -> float | None:
    try:
        return path.lstat().st_mtime
    except OSError:
        return None
