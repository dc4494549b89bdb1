"""What a soak needs: kinds of short trainings, their processes, full disks, spoiled files, and the comparison."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from crashes import MAX_SECONDS, evaluations, records, start, student_hash, survival_command
from label_toys import label_folder, label_survival_command
from toys import toy_command

from mlembed.run.checkpoint import verify

LEARNS = ("model.teacher.trainable=true", "optimizer.teacher_lr=1e-3")
# With several processes the last step of each epoch has one batch, and one process none.
UNEVEN = ("trainer.batch_tokens=300", "trainer.save_every=2")
STAGES = ("", "teacher", "zero_shot")
# Two processes that wait for a dead third are ended after so long.
PATIENCE = 3 * MAX_SECONDS


@dataclass(frozen=True)
class Kind:
    """A short training.

    Args:
        name: what it is called.
        command: its arguments, of a folder with toys and of a run directory.
        toys: makes the toys.
        weight: how often it is drawn.
        processes: how many train together.
    """

    name: str
    command: Callable[[Path, Path], list[str]]
    toys: Callable[[Path], object]
    weight: float
    processes: int = 1


def _embedding(toys: Path, run: Path) -> list[str]:
    return survival_command(toys, run=run)


def _labels(*more: str) -> Callable[[Path, Path], list[str]]:
    return lambda toys, run: label_survival_command(toys, run=run, more=more)


KINDS = (
    Kind("embedding", _embedding, toy_command, weight=4),
    Kind("labels", _labels(), label_folder, weight=3),
    Kind("labels-and-a-teacher-that-learns", _labels(*LEARNS), label_folder, weight=2),
    Kind("embedding-in-two-processes", lambda toys, run: [*_embedding(toys, run), *UNEVEN], toy_command, 0.6, 2),
    Kind("labels-in-two-processes", _labels(*LEARNS), label_folder, 0.4, 2),
)


class Process:
    """One start of a training, in one process or under torchrun.

    Args:
        kind: which training.
        place: its folder; the run is `place/run`, and the toys are those of the kind, beside it.
        fault: MLEMBED_FAULT; None ends nothing.
    """

    def __init__(self, kind: Kind, place: Path, *, fault: str | None = None) -> None:
        self._output = place / "out.txt"
        self._output.touch()
        self._from = self._output.stat().st_size
        arguments = kind.command(place.parent / "toys", place / "run")
        cache = place / "cache"
        self._processes = kind.processes
        if kind.processes == 1:
            self._process: Any = start(arguments, output=self._output, fault=fault, cache=cache)
            return
        environment = os.environ | {"MLEMBED_CACHE": str(cache)} | ({} if fault is None else {"MLEMBED_FAULT": fault})
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        with self._output.open("ab") as file:
            self._process = subprocess.Popen(
                [*command, "-m", "mlembed", *arguments],
                stdout=file,
                stderr=file,
                env=environment,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing outlives the training."""
        for pid in self.pids() if self.wait(0) is None else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait(10)

    def wait(self, seconds: float = PATIENCE) -> int | None:
        """The exit code, minus the signal's number when one ended it; None when it is still there."""
        if self._processes == 1:
            self._process.join(seconds)
            code: int | None = self._process.exitcode
            return code
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def pids(self) -> list[int]:
        """The processes that train, and torchrun."""
        return [self._process.pid] if self._processes == 1 else [*workers(self._process.pid), self._process.pid]

    def send(self, name: str, *, whom: int) -> None:
        """Send a signal to one of those that train; nothing happens when it has ended."""
        pids = self.pids()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[min(whom, len(pids) - 1)], signal.Signals[name])

    def said(self) -> str:
        """What it printed."""
        return self._output.read_bytes()[self._from :].decode(errors="replace")


def workers(parent: int) -> list[int]:
    """The processes that torchrun has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(path.parent.name))
    return sorted(found)


def fill_disk(pids: Sequence[int]) -> None:
    """From now on these processes can write no file of more than 20 kB, as on a full disk."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))


def _checkpoints(run: Path) -> list[Path]:
    """Those of the run itself that verify, newest first."""
    found = [path for path in (run / "checkpoints").glob("step-*") if verify(path) is None]
    return sorted(found, key=lambda path: -int(path.name.removeprefix("step-")))


def newest_whole(run: Path) -> int | None:
    """The step of the newest checkpoint that verifies; None where there is none."""
    found = _checkpoints(run)
    return int(found[0].name.removeprefix("step-")) if found else None


def damage_newest(run: Path, generator: random.Random) -> str | None:
    """Spoil a file of the newest checkpoint, where an older one can take its place; says which file and how."""
    found = _checkpoints(run)
    if len(found) < 2 or (run / "student").exists():
        return None
    path = generator.choice(sorted(path for path in found[0].rglob("*") if path.is_file()))
    content = bytearray(path.read_bytes())
    how = generator.choice(("truncated", "zeroed", "flipped", "deleted"))
    if how == "deleted":
        path.unlink()
    elif how == "flipped" and content:
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        path.write_bytes(content)
    else:
        path.write_bytes(bytes(len(content)) if how == "zeroed" else content[: len(content) // 2])
    return f"{found[0].name}/{path.relative_to(found[0])} ({how})"


@dataclass(frozen=True)
class Reference:
    """The run that nothing ended.

    Args:
        run: its directory.
        seconds: how long it took.
    """

    run: Path
    seconds: float

    @classmethod
    def of(cls, kind: Kind, folder: Path) -> Reference:
        """Make it, and the toys."""
        place = folder / "reference"
        place.mkdir(parents=True)
        kind.toys(folder / "toys")
        started = time.monotonic()
        with Process(kind, place) as process:
            if (code := process.wait()) != 0:
                raise RuntimeError(f"{kind.name}: the reference ended with {code}: {process.said()}")
        shutil.rmtree(place / "cache", ignore_errors=True)
        return cls(place / "run", time.monotonic() - started)

    def compare(self, run: Path, outcome: Any) -> None:
        """Note in an outcome what differs from this run."""
        if student_hash(run) != student_hash(self.run):
            outcome.wrong_hash = True
            outcome.problems.append("the student's weights differ")
        for stage in STAGES:
            if not (self.run / stage / "metrics.jsonl").exists():
                continue
            _compare_steps(run / stage, self.run / stage, outcome)
            if evaluations(run / stage) != evaluations(self.run / stage):
                outcome.problems.append(f"evaluations of {stage or 'the run'} differ")
        for path in (run / "checkpoints").glob("step-*"):
            if problem := verify(path):
                outcome.unverifiable += 1
                outcome.problems.append(f"{path.name}: {problem}")


def _compare_steps(run: Path, expected: Path, outcome: Any) -> None:
    found = [(one["step"], one.get("loss")) for one in records(run) if "evaluation" not in one]
    wanted = {(one["step"], one.get("loss")) for one in records(expected) if "evaluation" not in one}
    counts = Counter(step for step, _ in found)
    lost = len({step for step, _ in wanted} - counts.keys())
    repeated = sum(count - 1 for count in counts.values())
    outcome.lost_steps += lost
    outcome.repeated_steps += repeated
    if set(found) != wanted or repeated:
        outcome.problems.append(f"{run.name}: {lost} steps lost, {repeated} logged twice, or other losses")
