"""What a run measures: teacher and untrained student at its start, the student on the way and at the end."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlembed.config import Loss, MatryoshkaLoss
from mlembed.machine import Machine
from mlembed.models.encoder import Encoder
from mlembed.prepare import Splits
from mlembed.report.details import Details
from mlembed.report.report import Report
from mlembed.run.directory import RunDirectory
from mlembed.run.results import read_baseline, write_report
from mlembed.tasks.held_out import Encode, Scores
from mlembed.tasks.vector_details import VectorDetails
from mlembed.teaching import Teaching

# What the report says of each width of a student that can be cut.
WIDTH_METRICS = ("retrieval", "sts", "sts_cross")


class Measuring:
    """The held-out sets of a run, and the models that are measured on them.

    Args:
        splits: the sets.
        teaching: the teacher, and its vectors.
        student: as it is when it is measured.
        machine: what it computes with.
        seed: of the bootstrap.
        source_language: of the sources.
    """

    def __init__(
        self,
        splits: Splits,
        *,
        teaching: Teaching,
        student: Encoder,
        machine: Machine,
        seed: int,
        source_language: str,
    ) -> None:
        self.splits, self.teaching, self.student = splits, teaching, student
        self.machine, self.seed = machine, seed
        self.details = VectorDetails(splits.test, source_language=source_language)

    def baseline(self, run: RunDirectory, *, goes_on: bool, signature: Mapping[str, Any]) -> Report:
        """What teacher and untrained student score on the test set; measured once, also when a run goes on.

        Args:
            run: where the report is, or is written.
            goes_on: whether the run may have measured it before.
            signature: what models and data must be for that to count.
        """
        for part in (self.splits.validation, self.splits.test):
            part.remember_teacher(self.teaching.encode)
        first = self.machine.processes.first
        known = first(lambda: read_baseline(run.path) if goes_on else None)
        if known and {"teacher", "before"} <= known.systems.keys() and known.metadata.get("of") == signature:
            return known
        about = {"data": self.splits.counts, "of": signature}
        systems, details = self.before_training()
        report = Report(systems, test_set=self.splits.test.name, metadata=about, details=details)
        if self.machine.processes.is_first:
            write_report(report, run.path)
        return report

    def before_training(self) -> tuple[dict[str, Scores], Details]:
        """What teacher and untrained student score on the test set, which remembers the teacher's vectors already.

        Returns:
            The scores by system, and what the page shows besides.
        """
        test = self.splits.test
        encoders = {
            "teacher": functools.partial(self.teaching.encode, what="testing the teacher"),
            "before": functools.partial(self.machine.encode, self.student, what="testing the before"),
        }
        systems: dict[str, Scores] = {}
        details = self.details.start()
        for name, encoder in encoders.items():
            vectors = test.read(encoder)
            systems[name] = test.score(vectors, seed=self.seed)
            details = details.with_system(name, self.details.of_system(vectors))
        return systems, details

    def validation(self) -> Report:
        """The student on the validation set, without intervals: they are for the end."""
        validation = self.splits.validation
        vectors: dict[str, np.ndarray] = {}

        def encode(texts: Sequence[str]) -> np.ndarray:
            found_ND = self.machine.encode(self.student, texts, what="validation")
            vectors.update(zip(texts, found_ND, strict=True))
            return found_ND

        scores = validation.measure(encode, seed=self.seed, resamples=0)
        signs = {"vectors": validation.signs(vectors)}
        return Report({"student": scores}, test_set=validation.name, metadata={"signs": signs})

    def test(self, loss: Loss, *, details: Details) -> tuple[Scores, dict[str, dict[str, float]], Details]:
        """The student's scores on the test set, its means by width where its loss trained it at several, and details.

        Args:
            loss: what it was trained with.
            details: those of the systems that it is compared with.
        """
        test, seed = self.splits.test, self.seed

        @functools.lru_cache(1)
        def encode(texts: tuple[str, ...]) -> np.ndarray:
            return self.machine.encode(self.student, texts, what="testing the student")

        def first(width: int) -> Encode:
            return lambda texts: encode(tuple(texts))[:, :width]

        vectors = test.read(first(self.student.width))
        scores = test.score(vectors, seed=seed)
        shown = {**details.systems, "after": self.details.of_system(vectors)}
        details = dataclasses.replace(self.details.start(), systems=shown, hard_rows=self.details.hard_rows(vectors))
        if not isinstance(loss, MatryoshkaLoss):
            return scores, {}, details
        widths: dict[str, dict[str, float]] = {}
        for width in (*sorted(set(loss.widths)), self.student.width):
            report = Report({"student": test.measure(first(width), seed=seed, resamples=0)}, test_set=test.name)
            widths[str(width)] = {name: report.mean(name) for name in WIDTH_METRICS if name in report.metrics()}
        return scores, widths, details
