"""The folder of a sweep: the record by which the same command given again finds it, and its lock."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlembed.errors import ConfigError
from mlembed.faults import fault_point
from mlembed.files import open_plain_file, write_atomically
from mlembed.fingerprint import text_fingerprint
from mlembed.run.directory import CONFIG, hold, holder_of, redact
from mlembed.run.sweep import SUMMARY, SUMMARY_TEXT, finished_jobs
from mlembed.run.sweep_plot import PICTURES

RECORD = "sweep.json"
FORMAT = "mlembed-sweep/1"
# A record has a line or two for each job.
MAX_RECORD_BYTES = 1 << 24
STAMP = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


@dataclass(frozen=True)
class SweepJob:
    """One job as it was asked for.

    Args:
        label: the settings in which it differs from others, `loss=mse optimizer.lr=0.1`.
        fingerprint: hash of its configuration.
    """

    label: str
    fingerprint: str

    @classmethod
    def of(cls, label: str, config: Mapping[str, Any]) -> SweepJob:
        """Return the job of a configuration, wherever it will lie; secrets are not kept, not even as a hash."""
        settings = {key: value for key, value in config.items() if key != "run"}
        return cls(redact(label), text_fingerprint(json.loads(redact(json.dumps(settings)))))


@dataclass(frozen=True)
class SweepRecord:
    """What a sweep was begun with.

    Args:
        jobs: in their order; empty where the sweeper itself decides what is tried.
        command: what was given.
    """

    jobs: list[SweepJob]
    command: str


@dataclass(frozen=True)
class FoundSweep:
    """A sweep that the same command began.

    Args:
        folder: where it lies.
        finished: how many of its jobs are finished.
    """

    folder: Path
    finished: int


def read_record(folder: Path) -> SweepRecord | None:
    """What a sweep was begun with; None where there is no record of this version."""
    try:
        with os.fdopen(open_plain_file(folder / RECORD), encoding="utf-8") as file:
            record = json.loads(file.read(MAX_RECORD_BYTES))
        if record["format"] != FORMAT:
            return None
        jobs = [SweepJob(str(job["label"]), str(job["fingerprint"])) for job in record["jobs"]]
        return SweepRecord(jobs, command=str(record["command"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def find_sweep(folder: Path, jobs: Sequence[SweepJob], *, stamp: str) -> tuple[FoundSweep | None, list[str]]:
    """Look for a sweep of the same jobs beside the folder that a new one would get.

    Args:
        folder: of the new sweep; its name ends with the stamp, else nothing is looked for.
        jobs: of the new sweep.
        stamp: the part of the name that differs from sweep to sweep.

    Returns:
        The newest sweep that is not finished, or the newest one; and in words, the same sweeps that are running.
    """
    prefix = folder.name.removesuffix(stamp)
    if not jobs or not folder.name.endswith(stamp) or not folder.parent.is_dir():
        return None, []
    names = (item.name for item in folder.parent.iterdir() if item.name.startswith(prefix))
    stamps = [name[len(prefix) :] for name in names if STAMP.fullmatch(name[len(prefix) :])]
    found, running = [], []
    for other in (folder.with_name(prefix + one) for one in sorted(stamps, reverse=True)):
        known = read_record(other)
        if other.is_symlink() or known is None or known.jobs != list(jobs):
            continue
        if (holder := holder_of(other)) is not None:
            running.append(f"{other} ({holder})")
        else:
            found.append(FoundSweep(other, len(finished_jobs(other))))
    unfinished = [sweep for sweep in found if sweep.finished < len(jobs)]
    return next(iter([*unfinished, *found]), None), running


@contextlib.contextmanager
def hold_sweep(folder: Path, jobs: Sequence[SweepJob], *, command: str) -> Iterator[None]:
    """Hold a sweep's folder while its jobs run, with a record of what they are.

    Args:
        folder: it is made when it is not there.
        jobs: what is to be run; nothing where the sweeper itself decides.
        command: for people who look into the record.

    Raises:
        ConfigError: the folder is a run, belongs to another sweep, or is in use.
    """
    if (folder / CONFIG).exists():
        raise ConfigError(f"hydra.sweep.dir: {folder} is the directory of one run; give another folder")
    with hold(folder, key="hydra.sweep.dir"):
        fault_point("sweep.made")
        known = read_record(folder)
        for number, (old, new) in enumerate(zip(known.jobs if known else [], jobs, strict=False)):
            if old.label != new.label:
                there, here = old.label or "the only one", new.label or "the only one"
                raise ConfigError(
                    f"hydra.sweep.dir: {folder} is of another sweep, whose job {number} is {there}; here it is {here}. "
                    "Give another folder."
                )
        # What a kill left half written.
        for name in (RECORD, SUMMARY, SUMMARY_TEXT, *PICTURES):
            for leftover in folder.glob(f".{name}.*"):
                leftover.unlink(missing_ok=True)
        if known is None or known.jobs[: len(jobs)] != list(jobs):
            _write_record(folder, jobs, command=command)
        fault_point("sweep.began")
        yield


def _write_record(folder: Path, jobs: Sequence[SweepJob], *, command: str) -> None:
    listed = [{"label": job.label, "fingerprint": job.fingerprint} for job in jobs]
    record = {"format": FORMAT, "command": redact(command), "jobs": listed}
    write_atomically(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
