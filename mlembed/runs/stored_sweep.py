"""One sweep as its folder tells it, and all runs and sweeps below a folder."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlembed.errors import ConfigError
from mlembed.report.metrics import METRICS, parse_metric
from mlembed.run.directory import holder_of
from mlembed.run.sweep import SUMMARY
from mlembed.run.sweep_folder import RECORD, STAMP, SweepRecord, read_record
from mlembed.runs.stored_run import State, StoredRun, looks_like_run, read_run

# What Hydra writes into each sweep; older sweeps have no record of ours.
MULTIRUN = "multirun.yaml"
# Runs lie in the folder that is asked for, or in folders of it: runs/project/first.
DEPTH = 3


@dataclass(frozen=True)
class StoredSweep:
    """The folder of a sweep.

    Args:
        path: where it lies.
        jobs: those that began, in the order of the sweep.
        labels: the settings in which each job that was asked for differs; empty where that is not known.
        command: what was given.
        why: who runs it; empty otherwise.
    """

    path: Path
    jobs: list[StoredRun]
    labels: list[str]
    command: str = ""
    why: str = ""

    @property
    def count(self) -> int:
        """How many jobs were asked for, as far as that is known."""
        return max(len(self.labels), len(self.jobs))

    @property
    def finished(self) -> list[StoredRun]:
        """The jobs that have their final report."""
        return [job for job in self.jobs if job.state == "finished"]

    @property
    def state(self) -> State:
        """That of the sweep as a whole: running, finished (all jobs), failed (an error ended one), or interrupted."""
        states = {job.state for job in self.jobs}
        if self.why or "running" in states:
            return "running"
        # A trial that a search has pruned is done as well.
        if self.jobs and len(self.jobs) == self.count and states <= {"finished", "pruned"}:
            return "finished"
        return "failed" if "failed" in states else "interrupted"

    @property
    def metric(self) -> str | None:
        """The metric that decides, where all finished jobs have the same."""
        metrics = {job.metric for job in self.finished}
        return metrics.pop() if len(metrics) == 1 else None

    def best(self, metric: str | None = None) -> StoredRun | None:
        """The finished job that is best by a metric, or by the one that decides."""
        metric = metric or self.metric
        having = [job for job in self.finished if metric and job.has(metric)]
        return best_first(having, metric)[0] if having and metric else None

    def label(self, job: StoredRun) -> str:
        """The settings in which a job differs from the others; empty where that is not known."""
        number = int(job.path.name) if re.fullmatch(r"\d{1,6}", job.path.name) else len(self.labels)
        return self.labels[number] if number < len(self.labels) else ""


def best_first(runs: list[StoredRun], metric: str) -> list[StoredRun]:
    """Runs sorted by a metric; those without it keep their order at the end."""
    return sorted(runs, key=lambda run: rank(run.value(metric), metric))


def rank(value: float, metric: str) -> float:
    """A number by which sorting puts the best value of a metric first, and what was not measured last."""
    sign = -1.0 if METRICS[parse_metric(metric)[0]].better == "higher" else 1.0
    return math.inf if math.isnan(value) else sign * value


def looks_like_sweep(name: str, names: set[str]) -> bool:
    """Whether a folder of this name, with these names in it, is the folder of a sweep."""
    return bool({RECORD, MULTIRUN, SUMMARY} & names) or re.search(f"-sweep-{STAMP.pattern}$", name) is not None


def read_sweep(path: Path) -> StoredSweep:
    """Read the folder of a sweep."""
    names = sorted((name for name, is_folder in _entries(path) if is_folder), key=lambda name: (len(name), name))
    jobs = [read_run(path / name) for name in names if looks_like_run({inner for inner, _ in _entries(path / name)})]
    # Older sweeps have no record.
    record = read_record(path) or SweepRecord([], command="")
    labels = [job.label for job in record.jobs]
    return StoredSweep(path, jobs, labels, command=record.command, why=holder_of(path) or "")


def find(folder: Path) -> list[StoredRun | StoredSweep]:
    """All runs and sweeps in a folder and in the folders below it; the folder may be one itself.

    Raises:
        ConfigError: there is no such folder.
    """
    if folder.is_file():
        raise ConfigError(f"{folder} is a file; give the folder that runs lie in: mlembed runs ls FOLDER")
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}; give the one that runs lie in: mlembed runs ls FOLDER")
    return list(_find(folder, depth=DEPTH))


def _find(folder: Path, *, depth: int) -> Iterator[StoredRun | StoredSweep]:
    entries = dict(_entries(folder))
    if looks_like_sweep(folder.absolute().name, set(entries)):
        yield read_sweep(folder)
    elif looks_like_run(set(entries)):
        yield read_run(folder)
    elif depth:
        for name in sorted(name for name, is_folder in entries.items() if is_folder):
            yield from _find(folder / name, depth=depth - 1)


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """The names in a folder, and whether each is a folder; links are not, and what is hidden is left out."""
    try:
        with os.scandir(folder) as items:
            return [(item.name, item.is_dir(follow_symlinks=False)) for item in items if not item.name.startswith(".")]
    except OSError:
        return []
