"""One training run, in reading order: data, teacher, student, loop, report."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mlembed.checkpoint import CheckpointStore
from mlembed.compute import Processes, choose_device
from mlembed.config import PretrainedModel, TrainConfig
from mlembed.data.corpus import Corpus, make_corpus
from mlembed.data.plan import BatchPlan
from mlembed.export.card import model_card
from mlembed.export.sentence_transformers import load_weights
from mlembed.fingerprint import folder_fingerprint, text_fingerprint
from mlembed.losses import make_loss
from mlembed.machine import Machine, make_machine
from mlembed.models.encoder import Encoder, load_encoder
from mlembed.models.folder import model_folder
from mlembed.models.student import copy_student, freeze, pretrained_student
from mlembed.optimization import make_optimizer
from mlembed.prepare import Splits, load_splits
from mlembed.progress import TrainingProgress, choose_progress
from mlembed.recorder import RunRecorder
from mlembed.report.report import Report
from mlembed.report.tables import markdown
from mlembed.results import print_report, publish_student, read_baseline, write_report
from mlembed.resume import check_signature, find_checkpoint, settle_config
from mlembed.run_directory import RunDirectory, hold, logging_to, new_run_path
from mlembed.signals import StopRequest
from mlembed.sweep import summarize
from mlembed.tasks.embedding import EmbeddingTask, check_targets
from mlembed.trainer import Trainer
from mlembed.trainer_state import TrainerSettings
from mlembed.training_files import STUDENT, read_state, read_training_files

log = logging.getLogger("mlembed")


def train(config: TrainConfig, *, sweep_dir: str | None = None) -> float:
    """Train, evaluate and export, and leave a run directory.

    Args:
        config: the validated configuration.
        sweep_dir: the folder of the sweep that this run is a job of.

    Returns:
        The configured metric of the best student on the test set: the objective of a sweep.

    Raises:
        MlembedError: with a message for the user and an exit code.
    """
    with StopRequest() as stop, _open_run(config) as (run, config, processes, goes_on):
        torch.manual_seed(config.seed + processes.rank)
        machine = make_machine(
            device=config.trainer.device,
            precision=config.trainer.precision,
            processes=processes,
            stop=stop,
            progress=choose_progress(config.trainer.progress),
            batch_tokens=4 * config.trainer.batch_tokens,
        )
        settings = config.trainer.model_copy(update={"precision": machine.compute.precision})
        config = config.model_copy(update={"trainer": settings})
        if processes.is_first:
            run.write_start(config.model_dump(mode="json"))
            log.info("run directory: %s", run.path)
        report = Session(config, run=run, machine=machine).train(goes_on=goes_on)
        if processes.is_first:
            print_report(report)
            log.info("done: %s; the student is in %s", run.path, run.student)
            if sweep_dir is not None:
                summarize(Path(sweep_dir))
        return report.value(config.trainer.metric) if _has(report, config.trainer.metric) else float("nan")


@contextmanager
def _open_run(config: TrainConfig) -> Iterator[tuple[RunDirectory, TrainConfig, Processes, bool]]:
    """Make or take up the run directory; the first process holds it for all."""
    processes = Processes(choose_device(config.trainer.device))
    try:
        path = Path(config.run.dir) if config.run.dir else None
        if path is None and processes.is_first:
            path = new_run_path(root=Path(config.run.root), name=config.run.name)
        path = Path(processes.share(path))
        if not processes.is_first:
            config, goes_on = processes.share(None)
            with logging_to(None, quiet=True):
                yield RunDirectory(path), config, processes, goes_on
            return
        with hold(path) as run:
            config, goes_on = settle_config(config, path)
            processes.share((config, goes_on))
            with logging_to(path / "log.txt", quiet=False):
                yield run, config, processes, goes_on
    finally:
        processes.close()


def _has(report: Report, metric: str) -> bool:
    return metric.partition("/")[0] in report.metrics()


class Session:
    """The objects of one run, made in the order in which a sentence pair meets them.

    Args:
        config: the configuration.
        run: where results go.
        machine: what it computes with.
    """

    def __init__(self, config: TrainConfig, *, run: RunDirectory, machine: Machine) -> None:
        self.config, self.run, self.machine = config, run, machine
        self.started = time.perf_counter()
        self.splits: Splits = load_splits(config.data, seed=config.seed)
        self.corpus: Corpus = make_corpus(self.splits.train, max_sources=config.data.max_sources)
        self.teacher, self.student, folders = _load_models(config)
        for model in (self.teacher, self.student):
            model.to(machine.compute.device)
        self.frozen = freeze(
            self.student,
            patterns=config.model.student.freeze,
            train_top_layers=config.model.student.train_top_layers,
        )
        tokens = self.student.tokenize(self.corpus.texts, poll=machine.poll)
        self.plan = BatchPlan(
            self.corpus,
            tokens=tokens,
            batch_tokens=config.trainer.batch_tokens,
            source_weight=config.data.source_weight,
            seed=config.seed,
        )
        self.signature = {
            "seed": config.seed,
            "processes": machine.processes.count,
            "training data": self.corpus.fingerprint(),
            "validation data": text_fingerprint([(row.source, row.target) for row in self.splits.validation.rows]),
            "tokens": text_fingerprint(tokens.ids.tolist()),
            **{f"{role} model": folder_fingerprint(folder) for role, folder in folders.items()},
        }
        self.store = CheckpointStore(run.checkpoints, keep=config.trainer.keep_checkpoints)

    def train(self, *, goes_on: bool) -> Report:
        """Measure, train, measure again; write report and student."""
        baseline = self._baseline(goes_on=goes_on)
        trainer = self._trainer(self._targets())
        self._resume(trainer, goes_on=goes_on)
        try:
            trainer.run()
        finally:
            trainer.recorder.progress.close()
        return self._finish(trainer, baseline)

    def _targets(self) -> np.ndarray:
        """The teacher's vectors of all training sources, float16: half the memory, and finer than bf16."""
        sources = self.corpus.sources
        vectors_SD = self.machine.encode(self.teacher, sources, what="teacher")
        log.info("the teacher has encoded %d sources", len(sources))
        check_targets(vectors_SD, sources)
        return vectors_SD.astype(np.float16)

    def _baseline(self, *, goes_on: bool) -> Report:
        """What teacher and untrained student score on the test set; measured once, also when a run goes on."""
        encode = self.machine.encode
        for part in (self.splits.validation, self.splits.test):
            part.remember_teacher(functools.partial(encode, self.teacher, what="teacher"))
        if (
            goes_on
            and (known := read_baseline(self.run.path)) is not None
            and {"teacher", "before"} <= known.systems.keys()
        ):
            return known
        test = self.splits.test
        systems = {
            name: test.measure(functools.partial(encode, model, what=f"testing the {name}"), seed=self.config.seed)
            for name, model in (("teacher", self.teacher), ("before", self.student))
        }
        report = Report(systems, test_set=test.name, metadata={"data": self.splits.counts})
        if self.machine.processes.is_first:
            write_report(report, self.run.path)
        return report

    def _trainer(self, targets_SD: np.ndarray) -> Trainer:
        config, machine = self.config, self.machine
        optimizer = make_optimizer(
            self.student, **config.optimizer.model_dump(exclude={"schedule", "warmup", "max_grad_norm"})
        )
        shared = TrainerSettings.__dataclass_fields__.keys()
        settings = TrainerSettings(
            **{
                key: value
                for key, value in (config.trainer.model_dump() | config.optimizer.model_dump()).items()
                if key in shared
            }
        )
        trainer = Trainer(
            self.student,
            task=EmbeddingTask(make_loss(**config.loss.model_dump()), targets_SD=targets_SD),
            plan=self.plan,
            optimizer=optimizer,
            settings=settings,
            evaluate=self._validate,
            compute=machine.compute,
            processes=machine.processes,
            stop=machine.stop,
        )
        trained = sum(parameter.numel() for parameter in trainer.parameters)
        log.info(
            "%d steps; %.1f M parameters are trained, %.1f M are frozen; %s on %s",
            trainer.total_steps,
            trained / 1e6,
            self.frozen / 1e6,
            machine.compute.precision,
            machine.compute.device,
        )
        trainer.recorder = RunRecorder(
            run=self.run,
            store=self.store,
            student=self.student,
            write_extra=lambda: {
                "optimizer": optimizer,
                "state": trainer.state_dict() | {"signature": self.signature},
                "card": self._card(),
            },
            progress=TrainingProgress(
                kind=machine.progress, total_steps=trainer.total_steps, log_every=config.trainer.log_every
            ),
            processes=machine.processes,
        )
        return trainer

    def _validate(self) -> Report:
        """Measure the student on the validation set, without intervals: they are for the end."""
        validation = self.splits.validation
        encode = functools.partial(self.machine.encode, self.student, what="validation")
        return Report(
            {"student": validation.measure(encode, seed=self.config.seed, resamples=0)}, test_set=validation.name
        )

    def _resume(self, trainer: Trainer, *, goes_on: bool) -> None:
        """Go on from the newest checkpoint that verifies, or start fresh."""
        processes = self.machine.processes
        checkpoint = find_checkpoint(self.store) if processes.is_first and goes_on else None
        checkpoint = processes.share(checkpoint)
        if checkpoint is not None:
            state = read_state(checkpoint)
            allow_changes = self.config.run.allow_changes
            check_signature(state["signature"], self.signature, allow_changes=allow_changes)
            read_training_files(checkpoint, student=self.student, optimizer=trainer.optimizer, processes=processes)
            trainer.load_state_dict(state)
            log.info("resuming from %s", checkpoint)
        elif goes_on:
            log.info("the run was ended before its first checkpoint; it starts from the beginning")
        if processes.is_first and goes_on:
            kept = (trainer.state.step, trainer.state.evaluated_step) if checkpoint else (-1, -1)
            self.run.forget_metrics_after(kept[0], evaluated_step=kept[1])

    def _finish(self, trainer: Trainer, baseline: Report) -> Report:
        """Measure the best student on the test set, and write report and student."""
        state = trainer.state
        assert state.best_step is not None
        best = self.store.path(state.best_step) / STUDENT
        load_weights(self.student, best)
        encode = functools.partial(self.machine.encode, self.student, what="testing the student")
        systems = {
            **{name: baseline.systems[name] for name in ("teacher", "before")},
            "after": self.splits.test.measure(encode, seed=self.config.seed),
        }
        metadata: Mapping[str, Any] = {
            "data": self.splits.counts,
            "teacher": self.config.model.teacher.name,
            "steps": state.step,
            "best_step": state.best_step,
            "skipped_steps": state.skipped,
            "texts": state.texts,
            "precision": self.machine.compute.precision,
            "seconds": round(time.perf_counter() - self.started, 1),
        }
        report = Report(systems, test_set=self.splits.test.name, metadata=metadata)
        if self.machine.processes.is_first:
            publish_student(best, self.run.student, card=self._card(results=markdown(report)))
            write_report(report, self.run.path)
        return report

    def _card(self, *, results: str = "") -> str:
        used = self.splits.counts["used"]["train"]
        languages = list(used["languages"])
        return model_card(languages=languages, teacher=self.config.model.teacher.name, counts=used, results=results)


def _load_models(config: TrainConfig) -> tuple[Encoder, Encoder, dict[str, Path]]:
    """Teacher, student, and the folders that they come from."""
    model = config.model
    folders = {"teacher": model_folder(model.teacher.name, key="model.teacher.name")}
    teacher = load_encoder(folders["teacher"], key="model.teacher.name", max_length=model.teacher.max_length)
    teacher.requires_grad_(requires_grad=False)
    if isinstance(model, PretrainedModel):
        folders["student"] = model_folder(model.student.name, key="model.student.name")
        student = pretrained_student(
            folders["student"],
            teacher=teacher,
            pooling=None if model.student.pooling == "auto" else model.student.pooling,
            max_length=model.student.max_length,
            dropout=model.student.dropout,
            seed=config.seed,
        )
    else:
        student = copy_student(folders["teacher"], max_length=model.student.max_length, dropout=model.student.dropout)
    return teacher, student, folders
