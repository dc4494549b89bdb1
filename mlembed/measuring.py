"""What a run measures: teacher and untrained student at its start, the student on the way and at the end."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlembed.config import Loss, MatryoshkaLoss
from mlembed.machine import Machine
from mlembed.models.encoder import Encoder
from mlembed.prepare import Splits
from mlembed.report.report import Report
from mlembed.run.directory import RunDirectory
from mlembed.run.results import read_baseline, write_report
from mlembed.tasks.held_out import Encode, Scores
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
    """

    def __init__(self, splits: Splits, *, teaching: Teaching, student: Encoder, machine: Machine, seed: int) -> None:
        self.splits, self.teaching, self.student = splits, teaching, student
        self.machine, self.seed = machine, seed

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
        report = Report(self.before_training(), test_set=self.splits.test.name, metadata=about)
        if self.machine.processes.is_first:
            write_report(report, run.path)
        return report

    def before_training(self) -> dict[str, Scores]:
        """What teacher and untrained student score on the test set, which remembers the teacher's vectors already."""
        test = self.splits.test
        encoders = {
            "teacher": functools.partial(self.teaching.encode, what="testing the teacher"),
            "before": functools.partial(self.machine.encode, self.student, what="testing the before"),
        }
        return {name: test.measure(encoder, seed=self.seed) for name, encoder in encoders.items()}

    def validation(self) -> Report:
        """The student on the validation set, without intervals: they are for the end."""
        validation = self.splits.validation
        encode = functools.partial(self.machine.encode, self.student, what="validation")
        scores = validation.measure(encode, seed=self.seed, resamples=0)
        return Report({"student": scores}, test_set=validation.name)

    def test(self, loss: Loss) -> tuple[Scores, dict[str, dict[str, float]]]:
        """The student's scores on the test set, and its means by width where its loss trained it at several."""
        test, seed = self.splits.test, self.seed

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
