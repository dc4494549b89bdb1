"""Writes what the training loop tells: metrics, checkpoints, the screen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlembed.compute import Processes
from mlembed.errors import ResourceError, TrainingFailed, agreed
from mlembed.export.model_folder import is_finite
from mlembed.files import disk_errors
from mlembed.models.text_model import TextModel
from mlembed.progress import TrainingProgress
from mlembed.run.checkpoint import CheckpointStore
from mlembed.run.directory import RunDirectory
from mlembed.run.training_files import random_state, write_training_files
from mlembed.trainer_state import TrainerState

log = logging.getLogger("mlembed")

MAX_FAILED_SAVES = 3


class RunRecorder:
    """The recorder of a run directory.

    Args:
        run: where metrics go.
        store: where checkpoints go.
        student: what checkpoints hold.
        write_extra: gives what a checkpoint holds beside the student; see `write_training_files`.
        progress: the screen.
        processes: the first one writes, the others give their random states.
    """

    def __init__(
        self,
        *,
        run: RunDirectory,
        store: CheckpointStore,
        student: TextModel,
        write_extra: Callable[[], Mapping[str, Any]],
        progress: TrainingProgress,
        processes: Processes,
    ) -> None:
        self.run, self.store, self.student = run, store, student
        self.write_extra, self.progress, self.processes = write_extra, progress, processes
        self.failed_saves = 0
        self.saved: TrainerState | None = None

    def close(self) -> None:
        """Leave the screen as it is."""
        self.progress.close()

    def step(self, record: dict[str, Any]) -> None:
        """Log one optimizer step."""
        if self.processes.is_first:
            self.run.add_metrics(record)
            self.progress.step(record)
            self.run.tell_followers(record)

    def evaluation(self, record: dict[str, Any]) -> None:
        """Log one evaluation."""
        if not self.processes.is_first:
            return
        self.run.add_metrics(record)
        figures = "  ".join(f"{name} {value:.4f}" for name, value in record["evaluation"].items())
        best = "  (best so far)" if record["best_step"] == record["step"] else ""
        log.info("evaluation at step %d: %s%s", record["step"], figures, best)
        self.run.tell_followers(record)

    def save(self, state: TrainerState) -> bool:
        """Write a checkpoint; a full disk is a warning at first, since training may go on.

        Returns:
            Whether the checkpoint is there.

        Raises:
            ResourceError: when saving failed three times in a row.
            TrainingFailed: when the student's weights are not finite.
        """
        if self.saved is not None and self.saved == state:
            return True
        teacher = self.write_extra().get("teacher")
        if not (is_finite(self.student) and (teacher is None or is_finite(teacher))):
            message = "the student's weights are not finite; the last checkpoint is good, nothing was written"
            raise agreed(TrainingFailed(message))
        states = self.processes.collect(random_state())
        problem = self._write(state, states) if self.processes.is_first else None
        problem = self.processes.share(problem)
        if problem is None:
            self.saved = TrainerState(**vars(state))
            self.failed_saves = 0
            return True
        self.failed_saves += 1
        log.warning("THE CHECKPOINT OF STEP %d WAS NOT WRITTEN: %s; the last good one stays", state.step, problem)
        if self.failed_saves >= MAX_FAILED_SAVES:
            message = f"saving failed {MAX_FAILED_SAVES} times in a row: {problem}. Free some disk space and resume."
            raise agreed(ResourceError(message))
        return False

    def _write(self, state: TrainerState, random_states: list[dict[str, Any]]) -> str | None:
        def write(folder: Path) -> None:
            write_training_files(folder, student=self.student, random_states=random_states, **self.write_extra())

        try:
            with disk_errors():
                self.store.save(state.step, write=write, best_step=state.best_step)
        except OSError as error:
            return str(error)
        return None
