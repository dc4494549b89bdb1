"""The objects of one run with labels, made in the order in which they are needed: teacher, student, distillation."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlembed.alarms.causes import Circumstances
from mlembed.config import TrainConfig
from mlembed.config_data import FilesData
from mlembed.config_tasks import ClassificationTask, JointLoss, TokenClassificationTask
from mlembed.data.examples import Example
from mlembed.data.label_plan import LabelPlan
from mlembed.data.steps import Plan
from mlembed.errors import ConfigError
from mlembed.export.card import card_facts, model_card
from mlembed.export.usage import usage
from mlembed.label_measuring import Baseline, LabelMeasuring
from mlembed.label_objective import Built, make_objective
from mlembed.label_projection import projected_examples
from mlembed.label_starts import AnsweringModel, Basis, load_answering, start_student, start_teacher
from mlembed.laps import Laps
from mlembed.machine import Machine
from mlembed.models.classifier import weights_fingerprint
from mlembed.models.encoder import Encoder
from mlembed.models.text_model import TextModel
from mlembed.optimization import add_learner, make_optimizer
from mlembed.prepare_labels import LabelData, load_label_data, shape_of
from mlembed.report.report import Report
from mlembed.report.tables import markdown
from mlembed.run.directory import RunDirectory, first_command
from mlembed.run.results import publish_student, write_report
from mlembed.session import embedding_lr, settle
from mlembed.stages import TEACHER, ZERO_SHOT, Stages, fine_tuning_settings, optimizer_options, validate_model
from mlembed.tasks.held_out_labels import LabelledSet
from mlembed.tasks.labelled import make_answering
from mlembed.teaching import Teaching
from mlembed.trainer import Trainer
from mlembed.training import Training, check_finite, training_facts

log = logging.getLogger("mlembed")


class LabelSession:
    """The objects of one run with labels.

    Args:
        config: the configuration; its task has labels.
        run: where results go.
        machine: what it computes with.
        stages: what trains models on labels before the distillation.
        teachings: what knows a teacher's answers.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        run: RunDirectory,
        machine: Machine,
        stages: type[Stages] = Stages,
        teachings: type[Teaching] = Teaching,
    ) -> None:
        assert config.task.kind != "embedding"
        assert isinstance(config.data, FilesData)
        assert isinstance(config.loss, JointLoss)
        self.config, self.run, self.machine, self.task, self.loss = config, run, machine, config.task, config.loss
        self.started, self.laps = time.perf_counter(), Laps()
        files, task = config.data, config.task
        shape, answers = shape_of(task)
        self.data: LabelData = machine.processes.first(
            lambda: load_label_data(files, shape=shape, answers=answers, seed=config.seed)
        )
        examples = self.data.train.examples
        self.answering = make_answering(
            config.task, labels=self.data.labels, train=examples, smoothing=config.loss.label_smoothing
        )
        self.data_signature = {
            "seed": config.seed,
            "processes": machine.processes.count,
            "training data": self.data.train.fingerprint(),
            "validation data": self.data.validation.fingerprint(),
            "test data": self.data.test.fingerprint(),
            "unlabelled data": self.data.unlabelled.fingerprint(),
            "parallel data": self.data.parallel.fingerprint() if self.data.parallel else None,
        }
        held_out = functools.partial(
            LabelledSet, answering=self.answering, source_language=self.data.source_language, seed=config.seed
        )
        self.validation, self.test = held_out(self.data.validation), held_out(self.data.test)
        self.stages = stages(config, run, machine, self.answering, self.validation, self.data_signature)
        self.teachings = teachings
        self.laps.end("reading")

    @property
    def pooling(self) -> str:
        """What a new head reads of a text."""
        return self.task.pooling if isinstance(self.task, ClassificationTask) else "cls"

    @property
    def distils(self) -> bool:
        """Whether there is text to distil on."""
        return self.data.parallel is not None or bool(self.data.unlabelled.examples)

    def train(self, *, goes_on: bool) -> Report:
        """Train the teacher where it must be, then the student; measure; write report and student."""
        machine = self.machine
        if goes_on and machine.processes.is_first:
            # Stages write before the first checkpoint of the student, so what is asked for is written at once.
            self.run.write_start(self.config.model_dump(mode="json"))
        built = self.build()
        checkpoint = built.training.find_start() if goes_on else None
        measuring = LabelMeasuring(self.data, self.test, teacher=built.teacher, machine=machine)
        before = built.student if built.knows_labels else None
        signature = built.training.signature
        baseline = measuring.baseline(self.run, before=before, goes_on=goes_on, signature=signature)
        self.laps.end("baseline")
        trainer = self.trainer(built, checkpoint)
        # Also where it fails: the trials of a study share a process.
        with contextlib.closing(built.teaching) if built.teaching else contextlib.nullcontext():
            best = built.training.run_to_end(trainer, goes_on=goes_on)
        self.laps.end("training")
        return self._finish(trainer, measuring, baseline, best=best, signature=signature)

    def build(self) -> Built:
        """Teacher, student and objective; models that must learn the labels first do so."""
        config, machine = self.config, self.machine
        teacher, teacher_folder = self._teacher()
        self.laps.end("teacher")
        teaching = None
        if teacher is not None:
            name, fingerprint_of_teacher = config.model.teacher.name, weights_fingerprint(teacher)
            teaching = self.teachings(teacher, name=name, fingerprint=fingerprint_of_teacher, machine=machine)
        basis = Basis(teacher, teacher_folder, teaching, self.data.parallel, machine, self.pooling, config.seed)
        student, knows_labels, fingerprint = self._student(basis)
        self.laps.end("models")
        objective = make_objective(
            config,
            data=self.data,
            answering=self.answering,
            student=student,
            teaching=teaching,
            carried=self._carried(teacher),
            machine=machine,
        )
        if objective.batch_tokens is not None:
            self.config = config = settle(config, self.run, machine, batch_tokens=objective.batch_tokens)
        signature = {**self.data_signature, "student model": fingerprint, "tokens": objective.tokens_fingerprint}
        if teaching is not None and not config.model.teacher.trainable:
            signature["teacher model"] = fingerprint_of_teacher
        self.laps.end("tokens")
        training = Training(config=config, run=self.run, machine=machine, signature=signature)
        return Built(teacher, teaching, student, knows_labels, objective, training)

    def _teacher(self) -> tuple[AnsweringModel | None, Path | None]:
        """A model that knows the labels, and where it lies; none where there is nothing to distil."""
        model, head = self.config.model, self.answering.head
        if not self.distils:
            if model.teacher.trainable:
                raise ConfigError(
                    "model.teacher.trainable: there is nothing to distil; give data.parallel or data.unlabelled"
                )
            return None, None
        started = start_teacher(model, head, pooling=self.pooling, seed=self.config.seed)
        check_finite(teacher=started.model)
        folder: Path | None = None
        if not started.knows_labels:
            rows = self.data.source_rows()
            folder = self.stages.fine_tune(started.model, rows, name=TEACHER, fingerprint=started.fingerprint)
            limit = model.teacher.max_length
            teacher = load_answering(folder, key="model.teacher.name", head=head, max_length=limit)
        else:
            teacher = started.model
        teacher.to(self.machine.compute.device).requires_grad_(model.teacher.trainable)
        return teacher, folder

    def _student(self, basis: Basis) -> tuple[AnsweringModel, bool, str]:
        """The student before the distillation, whether it knows the labels, and what it was loaded from."""
        config, head = self.config, self.answering.head
        started = start_student(config.model, head, basis)
        student, knows_labels = started.model, started.knows_labels
        check_finite(student=student)
        source_rows = self.data.source_rows()
        has_more = self.distils or len(source_rows) < len(self.data.train.examples)
        if not knows_labels and has_more and source_rows:
            folder = self.stages.fine_tune(student, source_rows, name=ZERO_SHOT, fingerprint=started.fingerprint)
            settings = config.model.student
            dropout = getattr(settings, "dropout", None)
            student = load_answering(
                folder, key="model.student.name", head=head, max_length=student.max_length, dropout=dropout
            )
            knows_labels = True
        return student.to(self.machine.compute.device), knows_labels, started.fingerprint

    def _carried(self, teacher: AnsweringModel | None) -> list[Example]:
        """Translations with the tags that the teacher gave their sources."""
        task, corpus = self.task, self.data.parallel
        if not isinstance(task, TokenClassificationTask) or not task.project or teacher is None or corpus is None:
            return []
        if not self.loss.weights.distillation and not (self.loss.final_weights or {}).get("distillation"):
            return []
        return projected_examples(
            corpus,
            teacher,
            answering=self.answering,
            confidence=task.projection_confidence,
            machine=self.machine,
            seed=self.config.seed,
        )

    def trainer(self, built: Built, checkpoint: Path | None = None) -> Trainer:
        """The loop, ready to run; from a checkpoint where one is given."""
        config, student, teacher, objective = self.config, built.student, built.teacher, built.objective
        lr = config.optimizer.lr if self.distils else self.task.fine_tuning.lr
        optimizer = make_optimizer(
            student,
            embedding=student.transformer.get_input_embeddings().weight,
            embedding_lr=embedding_lr(config, lr=lr),
            **optimizer_options(config, lr=lr),
        )
        if teacher is not None and config.model.teacher.trainable:
            rate = config.optimizer.teacher_lr or lr
            add_learner(optimizer, teacher, lr=rate, weight_decay=config.optimizer.weight_decay)
        settings: dict[str, Any] = {"accumulate": objective.accumulate}
        plan: Plan = next(iter(objective.plans.values()))
        if not self.distils:
            assert isinstance(plan, LabelPlan)
            batches = objective.accumulate * self.machine.processes.count
            settings |= fine_tuning_settings(self.task, plan, batches_per_step=batches)
        return built.training.trainer(
            student,
            task=objective.task,
            plans=objective.plans,
            optimizer=optimizer,
            evaluate=lambda: validate_model(student, self.validation, machine=self.machine, watched=self._watched()),
            settings=settings,
            now=Circumstances(config, "optimizer.lr" if self.distils else "task.fine_tuning.lr", lr),
            extra=lambda: {"card": self._card(student)},
            checkpoint=checkpoint,
        )

    def _watched(self) -> list[str]:
        """Languages in which the student should answer: those of its labels; all, where there is text to distil on."""
        return self.data.validation.languages if self.distils else self.data.train.languages

    def _finish(
        self,
        trainer: Trainer,
        measuring: LabelMeasuring,
        baseline: Baseline,
        *,
        best: Path,
        signature: Mapping[str, Any],
    ) -> Report:
        """Measure the best student on the test set, and write report and student."""
        assert isinstance(trainer.student, AnsweringModel)
        measured = measuring.measure(trainer.student, what="testing the student")
        details = baseline.details.with_system("after", measured.shown)
        metadata: Mapping[str, Any] = {
            "data": self.data.counts,
            "of": signature,
            "teacher": self.config.model.teacher.name if self.distils else None,
            "source_language": self.data.source_language,
            "labels": measured.labels,
            **training_facts(trainer, machine=self.machine, laps=self.laps, started=self.started),
        }
        report = Report(
            {**baseline.systems, "after": measured.scores},
            test_set=self.data.test.name,
            metadata=metadata,
            details=dataclasses.replace(details, hard_rows=measured.hard_rows),
        )
        self.laps.end("evaluation")
        if self.machine.processes.is_first:
            publish_student(
                best, self.run.student, card=self._card(trainer.student, results=markdown(report, links=False))
            )
            write_report(report, self.run.path)
        return report

    def _card(self, student: TextModel, *, results: str = "") -> str:
        facts = card_facts(
            self.config.model_dump(mode="json"),
            used=self.data.counts["used"],
            languages=self.data.test.languages,
            labels=self.answering.head.labels,
            teacher=self.config.model.teacher.name if self.distils else None,
            is_encoder=isinstance(student, Encoder),
            max_length=student.limit,
            results=results,
            command=first_command(self.run.path),
        )
        to = "sentence-transformers" if facts.is_encoder else "transformers"
        return model_card(facts, to=to, usage=usage(student, to=to))
