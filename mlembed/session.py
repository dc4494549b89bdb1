"""The objects of one training run, made in the order in which a sentence pair meets them."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlembed.build import load_models
from mlembed.config import MatryoshkaLoss, TrainConfig
from mlembed.data.corpus import Corpus
from mlembed.data.corpus_tokens import StoredTokens, store_tokens
from mlembed.data.plan import BatchPlan
from mlembed.data.sampling import Sampling
from mlembed.errors import TrainingFailed
from mlembed.export.card import model_card
from mlembed.export.sentence_transformers import is_finite, load_weights
from mlembed.losses import make_loss
from mlembed.machine import Machine
from mlembed.models.compaction import compact_vocabulary
from mlembed.models.reduction import read_reduction
from mlembed.optimization import make_optimizer
from mlembed.prepare import Splits, load_splits
from mlembed.progress import TrainingProgress
from mlembed.report.report import Report
from mlembed.report.tables import markdown
from mlembed.run.checkpoint import CheckpointStore, verify
from mlembed.run.directory import RunDirectory
from mlembed.run.recorder import RunRecorder
from mlembed.run.results import publish_student, read_baseline, write_report
from mlembed.run.resume import find_start, held_out_fingerprint, take_up
from mlembed.run.training_files import STUDENT
from mlembed.tasks.embedding import EmbeddingTask, check_targets
from mlembed.tasks.held_out import Encode, Scores
from mlembed.tasks.vocabulary_use import vocabulary_use
from mlembed.trainer import Trainer
from mlembed.trainer_state import TrainerSettings

log = logging.getLogger("mlembed")

# Embeddings of a new vocabulary have further to go than a body that is there already; times optimizer.lr.
EMBEDDING_LR = {"transplant": 5.0, "static": 25.0}

# Sources that the teacher reads with their texts and tokens in memory.
TAUGHT_AT_ONCE = 2**18

# What the report says of each width of a student that can be cut.
WIDTH_METRICS = ("retrieval", "sts", "sts_cross")


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
        # The first process reads, the others open what it leaves on the disk.
        self.splits: Splits = machine.processes.first(lambda: load_splits(config.data, seed=config.seed))
        self.corpus: Corpus = self.splits.train
        models = load_models(config.model, loss=config.loss, corpus=self.corpus, machine=machine, seed=config.seed)
        self.teacher, self.student, self.reduction = models.teacher, models.student, models.reduction
        self.frozen = models.frozen
        for role, model in (("teacher", self.teacher), ("student", self.student)):
            if not is_finite(model):
                raise TrainingFailed(f"model.{role}: its weights are not finite, before any training")
        tokens = self._tokens()
        if config.model.student.compact_vocabulary:
            compact_vocabulary(self.student, tokens.used_ids())
        self.plan = BatchPlan(
            self.corpus,
            tokens=tokens,
            batch_tokens=config.trainer.batch_tokens,
            source_weight=config.data.source_weight,
            seed=config.seed,
            sampling=Sampling(
                temperature=config.data.temperature or 1.0,
                max_per_language=config.data.max_per_language,
                language_weights=config.data.language_weights or {},
            ),
        )
        drawn = ", ".join(f"{language} {count}" for language, count in self.plan.texts_by_language().items())
        log.info("an epoch has %d sources and these translations: %s", self.plan.first_member, drawn)
        self.signature = {
            "seed": config.seed,
            "processes": machine.processes.count,
            "training data": self.corpus.fingerprint(),
            "validation data": held_out_fingerprint(self.splits.validation),
            "test data": held_out_fingerprint(self.splits.test),
            "tokens": tokens.fingerprint(),
            **models.fingerprints,
        }
        self.store = CheckpointStore(run.checkpoints, keep=config.trainer.keep_checkpoints)

    def _tokens(self) -> StoredTokens:
        """Token ids of the training texts, on disk; the first process makes them where they are not there."""
        student, machine = self.student, self.machine
        path = machine.processes.first(
            lambda: store_tokens(
                self.corpus,
                tokenizer=student.tokenizer,
                max_length=student.max_length,
                # A static encoder averages no special tokens.
                add_special_tokens=not student.is_static,
                poll=machine.poll,
            )
        )
        return StoredTokens(path, pad_id=int(student.tokenizer.pad_token_id))

    def train(self, *, goes_on: bool) -> Report:
        """Measure, train, measure again; write report and student."""
        config, processes = self.config, self.machine.processes
        checkpoint = None
        if goes_on:
            allow_changes = config.run.allow_changes
            checkpoint = find_start(self.store, processes, signature=self.signature, allow_changes=allow_changes)
        if checkpoint is not None and self.reduction is not None:
            # As the run began with it: another machine finds the same dimensions, but not to the last digit.
            known = read_reduction(checkpoint / STUDENT)
            assert known is not None
            self.reduction.load_state_dict(known.state_dict())
        if goes_on and processes.is_first:
            # Only now: settings that were refused must not stay.
            self.run.write_start(config.model_dump(mode="json"))
        baseline = self._baseline(goes_on=goes_on)
        trainer = self._trainer(self._targets(), checkpoint)
        if goes_on and processes.is_first:
            self.run.forget_metrics_after(trainer.state.step, evaluated_step=trainer.state.evaluated_step)
        try:
            trainer.run()
        finally:
            trainer.recorder.close()
        return self._finish(trainer, baseline)

    def _targets(self) -> np.ndarray:
        """The teacher's vectors of all training sources, float16: half the memory, and finer than bf16."""
        sources = self.corpus.sources
        targets_SD = np.zeros((len(sources), self.teacher.width), dtype=np.float16)
        for start in range(0, len(sources), TAUGHT_AT_ONCE):
            texts = sources[start : start + TAUGHT_AT_ONCE]
            targets_SD[start : start + len(texts)] = self._teach(texts)
        log.info("the teacher has encoded %d sources", len(sources))
        return targets_SD

    def _teach(self, texts: Sequence[str]) -> np.ndarray:
        vectors_ND = self.machine.encode(self.teacher, texts, what="teacher")
        check_targets(vectors_ND, texts)
        return vectors_ND

    def _baseline(self, *, goes_on: bool) -> Report:
        """What teacher and untrained student score on the test set; measured once, also when a run goes on."""
        encode = self.machine.encode
        for part in (self.splits.validation, self.splits.test):
            part.remember_teacher(self._teach)
        known = self.machine.processes.first(lambda: read_baseline(self.run.path) if goes_on else None)
        if known and {"teacher", "before"} <= known.systems.keys() and known.metadata.get("of") == self.signature:
            return known
        test = self.splits.test
        systems = {
            name: test.measure(functools.partial(encode, model, what=f"testing the {name}"), seed=self.config.seed)
            for name, model in (("teacher", self.teacher), ("before", self.student))
        }
        report = Report(systems, test_set=test.name, metadata={"data": self.splits.counts, "of": self.signature})
        if self.machine.processes.is_first:
            write_report(report, self.run.path)
        return report

    def _trainer(self, targets_SD: np.ndarray, checkpoint: Path | None) -> Trainer:
        config, machine = self.config, self.machine
        rates = config.optimizer.model_dump(exclude={"schedule", "warmup", "max_grad_norm"})
        if rates["embedding_lr"] is None:
            rates["embedding_lr"] = EMBEDDING_LR.get(config.model.kind, 1.0) * rates["lr"]
        embedding = self.student.transformer.get_input_embeddings().weight
        optimizer = make_optimizer(self.student, embedding=embedding, **rates)
        options = config.trainer.model_dump() | config.optimizer.model_dump()
        settings = TrainerSettings(**{key: options[key] for key in TrainerSettings.__dataclass_fields__})
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
        if checkpoint is not None:
            allow_changes = config.run.allow_changes
            take_up(trainer, checkpoint, store=self.store, signature=self.signature, allow_changes=allow_changes)
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
                "reduction": self.reduction,
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

    def _finish(self, trainer: Trainer, baseline: Report) -> Report:
        """Measure the best student on the test set, and write report and student."""
        state = trainer.state
        assert state.best_step is not None
        best = self.store.path(state.best_step)
        if (problem := self.machine.processes.first(lambda: verify(best))) is not None:
            raise TrainingFailed(f"the best checkpoint {best} is damaged: {problem}. Resume to end with another one.")
        load_weights(self.student, best / STUDENT)
        after, widths = self._measure_student()
        systems = {**{name: baseline.systems[name] for name in ("teacher", "before")}, "after": after}
        metadata: Mapping[str, Any] = {
            "data": self.splits.counts,
            "of": self.signature,
            "teacher": self.config.model.teacher.name,
            "steps": state.step,
            "best_step": state.best_step,
            "skipped_steps": state.skipped,
            "texts": state.texts,
            "epoch": {"sources": self.plan.first_member, "translations": self.plan.texts_by_language()},
            "precision": self.machine.compute.precision,
            "seconds": round(time.perf_counter() - self.started, 1),
            "vocabulary": vocabulary_use(
                self.splits.test.rows, {"teacher": self.teacher.tokenizer, "student": self.student.tokenizer}
            ),
            "widths": widths,
        }
        report = Report(systems, test_set=self.splits.test.name, metadata=metadata)
        if self.machine.processes.is_first:
            publish_student(best / STUDENT, self.run.student, card=self._card(results=markdown(report)))
            write_report(report, self.run.path)
        return report

    def _measure_student(self) -> tuple[Scores, dict[str, dict[str, float]]]:
        """The student's scores on the test set, and its means by width where it was trained at several."""
        test, seed = self.splits.test, self.config.seed
        loss = self.config.loss

        @functools.lru_cache(1)
        def encode(texts: tuple[str, ...]) -> np.ndarray:
            return self.machine.encode(self.student, texts, what="testing the student")

        def first(width: int) -> Encode:
            return lambda texts: encode(tuple(texts))[:, :width]

        scores = test.measure(first(self.student.width), seed=seed)
        if not isinstance(loss, MatryoshkaLoss):
            return scores, {}
        widths: dict[str, dict[str, float]] = {}
        for width in (*sorted(set(loss.widths)), self.student.width):
            report = Report({"student": test.measure(first(width), seed=seed, resamples=0)}, test_set=test.name)
            widths[str(width)] = {name: report.mean(name) for name in WIDTH_METRICS if name in report.metrics()}
        return scores, widths

    def _card(self, *, results: str = "") -> str:
        used = self.splits.counts["used"]["train"]
        languages = list(used["languages"])
        return model_card(
            languages=languages,
            teacher=self.config.model.teacher.name,
            counts=used,
            results=results,
            source_language=self.config.data.source_language,
        )
