"""What a run with labels measures on its test set: baselines, teacher and student before, student after."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mlembed.label_starts import AnsweringModel
from mlembed.machine import Machine
from mlembed.prepare_labels import LabelData
from mlembed.report.bootstrap import Estimate
from mlembed.report.details import Details
from mlembed.report.hard_rows import HardRow
from mlembed.report.report import Report
from mlembed.run.directory import RunDirectory
from mlembed.run.results import read_baseline, write_report
from mlembed.tasks.answer_details import AnswerDetails
from mlembed.tasks.answering import Scores
from mlembed.tasks.held_out_labels import LabelledSet

Systems = Mapping[str, Mapping[str, Mapping[str, Estimate]]]


class Baseline(NamedTuple):
    """What a student is compared with: the scores of each system, and what the page shows of them."""

    systems: Systems
    details: Details


class Measured(NamedTuple):
    """What a report says of a model: its scores, its labels one by one, and what the page shows of it."""

    scores: Scores
    labels: Mapping[str, Any]
    shown: Mapping[str, Any]
    hard_rows: tuple[HardRow, ...]


class LabelMeasuring:
    """The test set of a run, and what is measured on it.

    Args:
        data: the rows of the run.
        test: the test set.
        teacher: that knows the labels; None: there is none.
        machine: what it computes with.
    """

    def __init__(self, data: LabelData, test: LabelledSet, *, teacher: AnsweringModel | None, machine: Machine) -> None:
        self.data, self.test, self.teacher, self.machine = data, test, teacher, machine
        self.details = AnswerDetails(test)

    def baseline(
        self, run: RunDirectory, *, before: AnsweringModel | None, goes_on: bool, signature: Mapping[str, Any]
    ) -> Baseline:
        """The systems that a student is compared with; measured once, also when a run goes on.

        Args:
            run: where the report is, or is written.
            before: the student, where it knows the labels already.
            goes_on: whether the run may have measured it before.
            signature: what models and data must be for that to count.
        """
        first = self.machine.processes.first
        known = first(lambda: read_baseline(run.path) if goes_on else None)
        if known and known.metadata.get("of") == signature:
            others = {name: scores for name, scores in known.systems.items() if name != "after"}
            return Baseline(others, dataclasses.replace(self.details.start(), systems=known.details.systems))
        systems = dict(first(self._without_models))
        details = self.details.start()
        models = {"teacher": (self.teacher, "the teacher"), "before": (before, "the zero-shot student")}
        for name, (model, words) in models.items():
            if model is not None:
                measured = self.measure(model, what=f"testing {words}")
                systems[name] = measured.scores
                details = details.with_system(name, measured.shown)
        about = {"data": self.data.counts, "of": signature, "source_language": self.data.source_language}
        # Scores and tags that are learnt from people alone are compared with nothing.
        if systems and self.machine.processes.is_first:
            write_report(Report(systems, test_set=self.data.test.name, metadata=about, details=details), run.path)
        return Baseline(systems, details)

    def _without_models(self) -> dict[str, Scores]:
        """Baselines that need no Transformer; scores and tags have none."""
        systems = self.without_learning()
        found = self.test.tfidf(self.data.reference) if systems else None
        return systems if found is None else {**systems, "tfidf": self.test.measure(found)}

    def without_learning(self) -> dict[str, Scores]:
        """Always the most frequent label; none for scores and tags."""
        head = self.test.answering.head
        if head.of == "words" or head.problem == "score":
            return {}
        return {"majority": self.test.measure(self.test.majority(self.data.train.examples))}

    def measure(self, model: AnsweringModel, *, what: str) -> Measured:
        """Measure a model.

        Args:
            model: teacher or student.
            what: what the screen calls it.
        """
        probabilities = self.test.probabilities(model, lambda inputs: self.machine.answer(model, inputs, what=what))
        return measured_answers(self.test, self.details, probabilities)


def measured_answers(test: LabelledSet, details: AnswerDetails, probabilities_AL: np.ndarray) -> Measured:
    """Return what a report says of a model's answers.

    Args:
        test: the test set.
        details: what its page shows.
        probabilities_AL: of all rows, or of all their words.
    """
    scores, labels = test.measure(probabilities_AL), test.details(probabilities_AL)
    if np.isnan(probabilities_AL).any():
        # Of a broken model the scores say enough.
        return Measured(scores, labels, {}, ())
    return Measured(scores, labels, details.of_system(probabilities_AL), details.hard_rows(probabilities_AL))
