"""The process of one tracker: reads the records of a run from a pipe, and hands them on, whatever comes of it."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from mlembed.files import write_atomically
from mlembed.run.trackers.mlflow import MLflow
from mlembed.run.trackers.tensorboard import TensorBoard
from mlembed.run.trackers.tracker import TrackedRun, Tracker
from mlembed.run.trackers.wandb import WandB

TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}
# Lines that the run's process reads, beside those of problems: how many records were handed on, not more often.
SECONDS_BETWEEN = 1.0
# Of a record of metrics.jsonl, these are about the step; the rest are its figures.
NOT_FIGURES = {"step", "evaluation", "best_step", "value", "losses", "skipped"}


class Handing:
    """Hands lines on to a tracker, and tells the run's process what comes of it.

    Args:
        name: of the tracker.
        folder: `RUN/trackers`, where the run's name at the tracker is kept.
        answers: what the run's process reads.
    """

    def __init__(self, name: str, *, folder: Path, answers: TextIO) -> None:
        self.name, self.answers = name, answers
        self.known = folder / f"{name}.id"
        self.tracker: Tracker = TRACKERS[name]()
        self.handled, self.told, self.step, self.done = 0, -math.inf, 0, False
        self.has_complained = False

    def start(self, about: Mapping[str, Any]) -> None:
        """Begin; what the tracker raises ends this process."""
        known_id = self.known.read_text(encoding="utf-8").strip() if self.known.is_file() else None
        run = TrackedRun(about["name"], Path(about["folder"]), about["config"], about["settings"], known_id)
        found = self.tracker.start(run)
        if found != known_id:
            write_atomically(self.known, f"{found}\n")

    def hand_on(self, line: Mapping[str, Any]) -> None:
        """One record, or the final report."""
        if line.get("end"):
            self.done = True
            return
        self.step = line.get("step", self.step)
        values = {name: value for name, value in figures(line).items() if math.isfinite(value)}
        try:
            self.tracker.log(self.step, values)
        except Exception as error:
            self._complain(f"cannot take what it is told: {error!r}")
            return
        self.handled += 1
        if time.monotonic() - self.told > SECONDS_BETWEEN:
            self._answer({"handled": self.handled})
            self.told = time.monotonic()

    def finish(self) -> None:
        """Send what is left."""
        try:
            self.tracker.finish(done=self.done)
        except Exception as error:
            self._complain(f"cannot be ended: {error!r}")
        self._answer({"handled": self.handled})

    def _complain(self, problem: str) -> None:
        if not self.has_complained:
            self._answer({"problem": problem})
        self.has_complained = True

    def _answer(self, answer: Mapping[str, Any]) -> None:
        print(json.dumps(answer), file=self.answers, flush=True)


def figures(line: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a record of metrics.jsonl, or of a final report, under the names that trackers show."""
    if "report" in line:
        return {f"test/{name}": float(value) for name, value in line["report"].items() if value is not None}
    if "evaluation" in line:
        found = {f"validation/{name}": value for name, value in line["evaluation"].items()}
    else:
        found = {f"train/{name}": value for name, value in line.items() if name not in NOT_FIGURES}
        found |= {f"train/loss/{term}": value for term, value in line.get("losses", {}).items()}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def main() -> int:
    """Run until the pipe ends. Arguments: the tracker, and the folder `RUN/trackers`."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    # What libraries print goes into the log, where standard error goes already.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lines: Iterable[str] = sys.stdin
    try:
        handing = Handing(name, folder=folder, answers=answers)
        handing.start(json.loads(next(iter(lines))))
    except Exception as error:
        print(json.dumps({"problem": f"cannot be used: {error!r}"}), file=answers, flush=True)
        raise
    for line in lines:
        handing.hand_on(json.loads(line))
    handing.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
