"""Training on labels alone, before the distillation: of the source model, and of the zero-shot student."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlembed.alarms.causes import Circumstances
from mlembed.config import TrainConfig
from mlembed.config_tasks import LabelTask
from mlembed.data.examples import Example
from mlembed.data.label_plan import LabelPlan
from mlembed.data.steps import steps_in
from mlembed.errors import ConfigError
from mlembed.files import write_atomically
from mlembed.label_starts import AnsweringModel
from mlembed.machine import Machine
from mlembed.models.compaction import compact_vocabulary
from mlembed.optimization import make_optimizer
from mlembed.report.report import Report
from mlembed.run.directory import STUDENT, RunDirectory
from mlembed.run.results import publish_student
from mlembed.run.resume import check_signature
from mlembed.tasks.answering import Answering
from mlembed.tasks.held_out_labels import LabelledSet
from mlembed.tasks.joint import SUPERVISED, JointTask
from mlembed.training import Training

log = logging.getLogger("mlembed")

TEACHER, ZERO_SHOT = "teacher", "zero_shot"
# Of a finished stage: what it was made from.
DONE = "stage.json"
# Evaluations of a training on labels: each may write a checkpoint, and an epoch of a few hundred rows is short.
LOOKS = 4


@dataclass(frozen=True)
class Stages:
    """What the stages of a run have in common.

    Args:
        config: the configuration.
        run: the run's directory; each stage has a folder in it.
        machine: what it computes with.
        answering: the task.
        validation: what decides the best checkpoint of each.
        signature: what the data must be for a stage that is there to count.
    """

    config: TrainConfig
    run: RunDirectory
    machine: Machine
    answering: Answering
    validation: LabelledSet
    signature: Mapping[str, Any]

    def fine_tune(self, model: AnsweringModel, examples: Sequence[Example], *, name: str, fingerprint: str) -> Path:
        """Train a model on labels; one that was trained before, in an earlier start of the run, is read again.

        Args:
            model: it is used up: its embeddings may be compacted; what was learnt is in the folder.
            examples: what it learns from.
            name: of the stage, and of its folder.
            fingerprint: of what the model was loaded from.

        Returns:
            The trained model as a folder.
        """
        self.refuse_nothing(examples, name=name)
        folder = self.run.path / name
        how = self._task.fine_tuning.model_dump()
        signature = {**self.signature, "stage": name, "model": fingerprint, "task.fine_tuning": how}
        allow_changes = self.config.run.allow_changes
        if self.machine.processes.first(lambda: _is_done(folder, signature, allow_changes=allow_changes)):
            log.info("%s: trained before, read from %s", name, folder / STUDENT)
            self._forget_checkpoints(folder)
            return folder / STUDENT
        model.to(self.machine.compute.device)
        log.info("%s: fine-tuning on %d labelled rows", name, len(examples))
        best = self._train(model, examples, folder=folder, signature=signature)
        if self.machine.processes.is_first:
            publish_student(best, folder / STUDENT, card=f"# {name}\n\nTrained on {len(examples)} labelled rows.\n")
            write_atomically(folder / DONE, json.dumps(signature, indent=1))
            self._forget_checkpoints(folder)
        self.machine.processes.share(None)
        return folder / STUDENT

    def refuse_nothing(self, examples: Sequence[Example], *, name: str) -> None:
        """Make sure that there is something to train a stage on.

        Raises:
            ConfigError: there is not.
        """
        if not examples:
            raise ConfigError(
                f"there is no labelled row in the source language ({self.config.data.source_language}) to train the "
                f"{name} on; add some to data.train, set data.source_language, or name a model that knows the labels"
            )

    def _forget_checkpoints(self, folder: Path) -> None:
        """Several times the weights; what is needed of them is published."""
        if self.machine.processes.is_first:
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    def _train(
        self, model: AnsweringModel, examples: Sequence[Example], *, folder: Path, signature: Mapping[str, Any]
    ) -> Path:
        if self.machine.processes.is_first:
            folder.mkdir(exist_ok=True)
        training = Training(config=self.config, run=RunDirectory(folder), machine=self.machine, signature=signature)
        has_checkpoint = self.machine.processes.first(lambda: bool(training.store.steps()))
        plan = label_plan(self.config, self.answering, model, examples)
        batches = self.config.trainer.accumulate * self.machine.processes.count
        if self.config.model.student.compact_vocabulary:
            compact_vocabulary(model, plan.inputs.tokens.ids)
        trainer = training.trainer(
            model,
            task=JointTask(
                self.answering,
                distance=lambda student, teacher: student,
                weights={SUPERVISED: 1.0},
                final_weights={SUPERVISED: 1.0},
                answers=self.answering.answers(examples),
                targets={},
            ),
            plans={SUPERVISED: plan},
            optimizer=make_optimizer(model, **optimizer_options(self.config, lr=self._task.fine_tuning.lr)),
            evaluate=lambda: self._evaluate(model),
            settings=fine_tuning_settings(self._task, plan, batches_per_step=batches)
            | self._metric(signature["stage"]),
            now=Circumstances(self.config, "task.fine_tuning.lr", self._task.fine_tuning.lr),
            extra=lambda: {"card": "# A stage of a training\n"},
            checkpoint=training.find_start() if has_checkpoint else None,
        )
        # Also without a checkpoint: an earlier start may have written metrics before its first.
        return training.run_to_end(trainer, goes_on=True)

    def _metric(self, name: str) -> dict[str, Any]:
        """A teacher is chosen by the language that it teaches in: its answers in others may be mere chance."""
        metric = self.config.trainer.metric.partition("/")[0]
        source = self.validation.source_language
        # Of the source language itself there is no consistency with it.
        if name != TEACHER or metric == "consistency" or source not in self.validation.rows.languages:
            return {}
        return {"metric": f"{metric}/{source}"}

    @property
    def _task(self) -> LabelTask:
        assert self.config.task.kind != "embedding"
        return self.config.task

    def _evaluate(self, model: AnsweringModel) -> Report:
        # It learns in one language; what it says in others may be mere chance.
        watched = [self.validation.source_language]
        return validate_model(model, self.validation, machine=self.machine, watched=watched)


def _is_done(folder: Path, signature: Mapping[str, Any], *, allow_changes: bool) -> bool:
    """Whether a stage was trained before; one that was made from something else is refused, not overwritten."""
    try:
        known = json.loads((folder / DONE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(known, dict) or not (folder / STUDENT / "model.safetensors").is_file():
        return False
    current = json.loads(json.dumps(signature))
    check_signature(known, current, allow_changes=allow_changes, what=f"the model in {folder / STUDENT}")
    return bool(known == current)


def validate_model(
    model: AnsweringModel, validation: LabelledSet, *, machine: Machine, watched: Sequence[str]
) -> Report:
    """A model on the validation set, without intervals: they are for the end.

    Args:
        model: teacher or student.
        validation: the set.
        machine: what it computes with.
        watched: languages in which its answers are watched for alarms.
    """
    probabilities = validation.probabilities(model, lambda inputs: machine.answer(model, inputs, what="validation"))
    scores = validation.measure(probabilities, resamples=0)
    signs = validation.signs(probabilities, languages=watched)
    about = {"source_language": validation.source_language, "signs": {"answers": signs}}
    return Report({"student": scores}, test_set=validation.rows.name, metadata=about)


def label_plan(
    config: TrainConfig, answering: Answering, model: AnsweringModel, examples: Sequence[Example]
) -> LabelPlan:
    """The batches of labelled rows.

    Args:
        config: the configuration.
        answering: the task.
        model: whose tokenizer cuts them.
        examples: the rows.
    """
    assert config.task.kind != "embedding"
    return LabelPlan(
        answering.inputs(model, examples),
        places=[one.place for one in examples],
        batch_tokens=config.task.batch_tokens,
        batch_rows=config.task.batch_rows,
        seed=config.seed,
        draws_N=answering.draws(examples),
    )


def optimizer_options(config: TrainConfig, *, lr: float) -> dict[str, Any]:
    """What `make_optimizer` takes of the configuration, for a model that learns at one rate throughout."""
    others = {"schedule", "warmup", "max_grad_norm", "row_wise", "teacher_lr", "lr", "embedding_lr"}
    return {**config.optimizer.model_dump(exclude=others), "lr": lr}


def fine_tuning_settings(task: LabelTask, plan: LabelPlan, *, batches_per_step: int) -> dict[str, Any]:
    """The loop's settings where there are labels alone: to the end, looked at a few times."""
    epochs = task.fine_tuning.epochs
    steps = epochs * steps_in(plan, 0, batches_per_step=batches_per_step)
    whole: dict[str, Any] = {"max_steps": None, "save_every": None, "patience": None}
    return {**whole, "epochs": epochs, "evaluate_every": -(-steps // LOOKS)}
