"""The objects of one training run, made in the order in which a sentence pair meets them."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from mlembed.alarms.causes import Circumstances
from mlembed.build import load_models
from mlembed.cache.cache_folder import EntryInUse
from mlembed.cache.stored_vectors import StoredVectors
from mlembed.config import TrainConfig
from mlembed.data.corpus import Corpus
from mlembed.export.card import card_facts, model_card
from mlembed.export.usage import usage
from mlembed.laps import Laps
from mlembed.losses import make_loss
from mlembed.machine import Machine
from mlembed.measuring import Measuring
from mlembed.models.reduction import read_reduction
from mlembed.optimization import make_optimizer
from mlembed.planning import plan_batches
from mlembed.prepare import CORPORA, Splits, load_splits
from mlembed.report.report import Report
from mlembed.report.tables import markdown
from mlembed.run.directory import RunDirectory, first_command
from mlembed.run.results import publish_student, write_report
from mlembed.run.resume import held_out_fingerprint
from mlembed.run.training_files import STUDENT
from mlembed.tasks.embedding import DISTILLATION, EmbeddingTask, Targets
from mlembed.tasks.vocabulary_use import vocabulary_use
from mlembed.trainer import Trainer
from mlembed.training import Training, check_finite, training_facts

log = logging.getLogger("mlembed")

# Embeddings of a new vocabulary have further to go than a body that is there already; times optimizer.lr.
EMBEDDING_LR = {"transplant": 5.0, "static": 25.0}


class Session:
    """The objects of one run, made in the order in which a sentence pair meets them.

    Args:
        config: the configuration.
        run: where results go.
        machine: what it computes with.
        splits: the rows, where they were read already.
    """

    def __init__(
        self, config: TrainConfig, *, run: RunDirectory, machine: Machine, splits: Splits | None = None
    ) -> None:
        self.config, self.run, self.machine = config, run, machine
        self.started = time.perf_counter()
        self.laps = Laps()
        # The first process reads, the others open what it leaves on the disk.
        self.splits: Splits = splits or machine.processes.first(lambda: load_splits(config.data, seed=config.seed))
        self.corpus: Corpus = self.splits.train
        self.in_use = contextlib.ExitStack()
        if machine.processes.is_first:
            # Without a cache folder the corpus lies elsewhere, and nobody deletes it.
            with contextlib.suppress(OSError):
                self.in_use.callback(EntryInUse(CORPORA, self.corpus.folder.name, about={}).close)
        self.laps.end("reading")
        models = load_models(config.model, loss=config.loss, corpus=self.corpus, machine=machine, seed=config.seed)
        self.teacher, self.student, self.reduction = models.teacher, models.student, models.reduction
        self.teaching = models.teaching
        check_finite(teacher=self.teacher, student=self.student)
        self.laps.end("models")
        planned = plan_batches(config, corpus=self.corpus, student=self.student, machine=machine)
        self.tokens, self.plan, self.accumulate = planned.tokens, planned.plan, planned.accumulate
        self.config = settle(config, run, machine, batch_tokens=planned.batch_tokens)
        self.laps.end("tokens")
        self.measuring = Measuring(
            self.splits,
            teaching=self.teaching,
            student=self.student,
            machine=machine,
            seed=config.seed,
            source_language=config.data.source_language,
        )
        self.signature: dict[str, Any] = {
            "seed": config.seed,
            "processes": machine.processes.count,
            "training data": self.corpus.fingerprint(),
            "validation data": held_out_fingerprint(self.splits.validation),
            "test data": held_out_fingerprint(self.splits.test),
            "tokens": planned.tokens.fingerprint(),
            **models.fingerprints,
        }
        self.training = Training(config=self.config, run=run, machine=machine, signature=self.signature)

    def train(self, *, goes_on: bool) -> Report:
        """Measure, train, measure again; write report and student."""
        config, processes = self.config, self.machine.processes
        checkpoint = self.training.find_start() if goes_on else None
        if checkpoint is not None and self.reduction is not None:
            # As the run began with it: another machine finds the same dimensions, but not to the last digit.
            known = read_reduction(checkpoint / STUDENT)
            assert known is not None
            self.reduction.load_state_dict(known.state_dict())
        if goes_on and processes.is_first:
            # Only now: settings that were refused must not stay.
            self.run.write_start(config.model_dump(mode="json"))
        self.laps.end("plan")
        baseline = self.measuring.baseline(self.run, goes_on=goes_on, signature=self.signature)
        self.laps.end("baseline")
        targets_SD = self._targets()
        self.laps.end("teacher")
        trainer = self.trainer(targets_SD, checkpoint)
        try:
            best = self.training.run_to_end(trainer, goes_on=goes_on)
        finally:
            self.teaching.close()
            self.in_use.close()
            self.laps.end("training")
        return self._finish(trainer, baseline, best=best)

    def _targets(self) -> StoredVectors:
        """The teacher's vectors of all training sources; where they were encoded before, they are read."""
        vectors_SD = self.teaching.vectors(self.corpus.sources)
        self.teaching.tell()
        return vectors_SD

    def _optimizer(self) -> Optimizer:
        others = {"schedule", "warmup", "max_grad_norm", "row_wise", "teacher_lr"}
        rates = self.config.optimizer.model_dump(exclude=others)
        rates["embedding_lr"] = embedding_lr(self.config, lr=rates["lr"])
        embedding = self.student.transformer.get_input_embeddings().weight
        return make_optimizer(self.student, embedding=embedding, **rates)

    def trainer(self, targets_SD: Targets, checkpoint: Path | None = None) -> Trainer:
        """The loop, ready to run.

        Args:
            targets_SD: the teacher's vectors of all training sources.
            checkpoint: what it goes on from.
        """
        return self.training.trainer(
            self.student,
            task=EmbeddingTask(make_loss(**self.config.loss.model_dump()), targets_SD=targets_SD),
            plans={DISTILLATION: self.plan},
            optimizer=self._optimizer(),
            evaluate=self.measuring.validation,
            settings={"accumulate": self.accumulate},
            now=Circumstances(
                self.config,
                "optimizer.lr",
                self.config.optimizer.lr,
                student={"pooling": self.student.pooling, "normalize": self.student.normalize},
                teacher={"pooling": self.teacher.pooling, "normalize": self.teacher.normalize},
            ),
            extra=lambda: {"card": self._card(), "reduction": self.reduction},
            checkpoint=checkpoint,
        )

    def _finish(self, trainer: Trainer, baseline: Report, *, best: Path) -> Report:
        """Measure the best student on the test set, and write report and student."""
        after, widths, details = self.measuring.test(self.config.loss, details=baseline.details)
        systems = {**{name: baseline.systems[name] for name in ("teacher", "before")}, "after": after}
        metadata: Mapping[str, Any] = {
            "data": self.splits.counts,
            "of": self.signature,
            "teacher": self.config.model.teacher.name,
            **training_facts(trainer, machine=self.machine, laps=self.laps, started=self.started),
            "epoch": {"sources": self.plan.first_member, "translations": self.plan.texts_by_language()},
            "vocabulary": vocabulary_use(
                self.splits.test.rows, {"teacher": self.teacher.tokenizer, "student": self.student.tokenizer}
            ),
            "widths": widths,
        }
        report = Report(systems, test_set=self.splits.test.name, metadata=metadata, details=details)
        self.laps.end("evaluation")
        if self.machine.processes.is_first:
            publish_student(best, self.run.student, card=self._card(results=markdown(report, links=False)))
            self.laps.end("export")
            write_report(report, self.run.path)
        return report

    def _card(self, *, results: str = "") -> str:
        facts = card_facts(
            self.config.model_dump(mode="json"),
            used=self.splits.counts["used"],
            max_length=self.student.limit,
            results=results,
            command=first_command(self.run.path),
        )
        return model_card(facts, usage=usage(self.student, to="sentence-transformers"))


def embedding_lr(config: TrainConfig, *, lr: float) -> float:
    """The learning rate of the token embeddings, beside that of all else."""
    return config.optimizer.embedding_lr or EMBEDDING_LR.get(config.model.kind, 1.0) * lr


def settle(config: TrainConfig, run: RunDirectory, machine: Machine, *, batch_tokens: int) -> TrainConfig:
    """Write down what `trainer.batch_tokens=auto` has become: a run that goes on keeps it."""
    if config.trainer.batch_tokens != "auto":
        return config
    trainer = config.trainer.model_copy(update={"batch_tokens": batch_tokens})
    config = config.model_copy(update={"trainer": trainer})
    if machine.processes.is_first:
        run.write_config(config.model_dump(mode="json"))
    return config
