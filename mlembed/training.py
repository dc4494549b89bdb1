"""One training in a run directory: what was made for it goes into the loop, its best checkpoint comes out."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from mlembed.alarms.causes import Circumstances, likely_causes
from mlembed.alarms.watch import Watch
from mlembed.config import TrainConfig
from mlembed.data.steps import Plan
from mlembed.errors import TrainingFailed, agreed
from mlembed.export.model_folder import is_finite, load_weights
from mlembed.laps import Laps
from mlembed.machine import Machine
from mlembed.models.execution import compile_student, recompute_activations
from mlembed.models.text_model import TextModel
from mlembed.progress import TrainingProgress
from mlembed.report.report import Report
from mlembed.run.checkpoint import CheckpointStore, verify
from mlembed.run.directory import RunDirectory
from mlembed.run.recorder import RunRecorder
from mlembed.run.resume import find_start, take_up
from mlembed.run.training_files import STUDENT
from mlembed.tasks.task import Task
from mlembed.trainer import Trainer
from mlembed.trainer_state import TrainerSettings

log = logging.getLogger("mlembed")


@dataclass(frozen=True)
class Training:
    """A training, from its start or from a checkpoint.

    Args:
        config: the configuration.
        run: where checkpoints and metrics go.
        machine: what it computes with.
        signature: what models and data must be for a checkpoint to count.
    """

    config: TrainConfig
    run: RunDirectory
    machine: Machine
    signature: Mapping[str, Any]

    @property
    def store(self) -> CheckpointStore:
        """Its checkpoints."""
        return CheckpointStore(self.run.checkpoints, keep=self.config.trainer.keep_checkpoints)

    def find_start(self) -> Path | None:
        """The checkpoint that it goes on from; None: from the beginning.

        Raises:
            ConfigError: no checkpoint verifies, or it was made from something else.
        """
        allow_changes = self.config.run.allow_changes
        return find_start(self.store, self.machine.processes, signature=self.signature, allow_changes=allow_changes)

    def trainer(
        self,
        student: TextModel,
        *,
        task: Task,
        plans: Mapping[str, Plan],
        optimizer: Optimizer,
        evaluate: Callable[[], Report],
        settings: Mapping[str, Any],
        now: Circumstances,
        extra: Callable[[], Mapping[str, Any]],
        checkpoint: Path | None,
    ) -> Trainer:
        """The loop, ready to run.

        Args:
            student: the model that learns.
            task: what it learns.
            plans: term of the loss -> its batches.
            optimizer: over the parameters of all that learns.
            evaluate: measures the student on the validation set.
            settings: of the loop, where they differ from the configuration's.
            now: what the likely causes of an alarm depend on.
            extra: gives what a checkpoint holds besides: its `card`, and a `reduction`.
            checkpoint: what it goes on from.
        """
        config, machine, loop = self.config, self.machine, self._settings(settings)
        # A run that goes on makes or reads other things before this, and must not draw other random numbers after it.
        torch.manual_seed(config.seed + machine.processes.rank)
        self._prepare(student)
        trainer = Trainer(
            student,
            task=task,
            plans=plans,
            optimizer=optimizer,
            settings=loop,
            evaluate=evaluate,
            watch=self._watch(loop, now),
            compute=machine.compute,
            processes=machine.processes,
            stop=machine.stop,
        )
        if checkpoint is not None:
            allow = config.run.allow_changes
            take_up(trainer, checkpoint, store=self.store, signature=self.signature, allow_changes=allow)
        self._tell(trainer)
        trainer.recorder = self._recorder(trainer, extra)
        return trainer

    def _prepare(self, student: TextModel) -> None:
        if self.config.trainer.gradient_checkpointing:
            recompute_activations(student)
        if self.config.trainer.compile:
            compile_student(student)

    def _settings(self, given: Mapping[str, Any]) -> TrainerSettings:
        options = self.config.trainer.model_dump() | self.config.optimizer.model_dump() | dict(given)
        return TrainerSettings(**{key: options[key] for key in TrainerSettings.__dataclass_fields__})

    def _watch(self, loop: TrainerSettings, now: Circumstances) -> Watch:
        return Watch(
            causes=functools.partial(likely_causes, now=now),
            metric=loop.metric,
            max_grad_norm=loop.max_grad_norm,
            stops=self.config.trainer.on_collapse == "stop",
        )

    def _recorder(self, trainer: Trainer, extra: Callable[[], Mapping[str, Any]]) -> RunRecorder:
        total, log_every = trainer.total_steps, self.config.trainer.log_every
        return RunRecorder(
            run=self.run,
            store=self.store,
            student=trainer.student,
            write_extra=lambda: {
                "optimizer": trainer.optimizer,
                "state": trainer.state_dict() | {"signature": self.signature},
                "teacher": next(iter(trainer.task.learners()), None),
                **extra(),
            },
            progress=TrainingProgress(kind=self.machine.progress, total_steps=total, log_every=log_every),
            processes=self.machine.processes,
        )

    def _tell(self, trainer: Trainer) -> None:
        trained = sum(parameter.numel() for parameter in trainer.parameters)
        frozen = sum(one.numel() for one in trainer.student.parameters() if not one.requires_grad)
        log.info(
            "%d steps; %.1f M parameters are trained, %.1f M are frozen; %s on %s",
            trainer.total_steps,
            trained / 1e6,
            frozen / 1e6,
            self.machine.compute.precision,
            self.machine.compute.device,
        )
        if trainer.state.step >= trainer.total_steps:
            log.info("all of these steps were done before")

    def run_to_end(self, trainer: Trainer, *, goes_on: bool) -> Path:
        """Train, and give the student its best weights.

        Args:
            trainer: of `trainer`.
            goes_on: whether there was a start before this one, which wrote metrics.

        Returns:
            The folder of the best checkpoint's student.

        Raises:
            TrainingFailed: the loop failed, or the best checkpoint is damaged.
            Interrupted: a signal came; a checkpoint was written.
        """
        if goes_on and self.machine.processes.is_first:
            self.run.forget_metrics_after(trainer.state.step, evaluated_step=trainer.state.evaluated_step)
        try:
            trainer.run()
        finally:
            trainer.recorder.close()
            log.info("the steps waited for their texts in %.1f %% of the time", 100 * trainer.waiting())
        assert trainer.state.best_step is not None
        best = self.store.path(trainer.state.best_step)
        if (problem := self.machine.processes.first(lambda: verify(best))) is not None:
            raise TrainingFailed(f"the best checkpoint {best} is damaged: {problem}. Resume to end with another one.")
        if trainer.state.best_step != trainer.state.step:
            load_weights(trainer.student, best / STUDENT)
        return best / STUDENT


def training_facts(trainer: Trainer, *, machine: Machine, laps: Laps, started: float) -> dict[str, Any]:
    """What a report says of a training: how long it was, what was left out, and what it has shown.

    Args:
        trainer: after its last step.
        machine: what it computed with.
        laps: where the time went; those that end later are in it too.
        started: when the run began, in seconds of `time.perf_counter`.
    """
    state = trainer.state
    return {
        "steps": state.step,
        "best_step": state.best_step,
        "skipped_steps": state.skipped,
        "forwards_per_batch": state.pieces,
        "texts": state.texts,
        "waiting": round(trainer.waiting(), 5),
        "watch": trainer.watch.summary(),
        "precision": machine.compute.precision,
        "seconds": round(time.perf_counter() - started, 1),
        "began": laps.began,
        "laps": laps.seconds,
    }


def check_finite(**models: TextModel) -> None:
    """Refuse weights that are not finite before any training.

    Args:
        models: role -> model.

    Raises:
        TrainingFailed: it names the role.
    """
    for role, model in models.items():
        if not is_finite(model):
            raise agreed(TrainingFailed(f"model.{role}: its weights are not finite, before any training"))
