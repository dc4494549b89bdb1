"""What a run with labels measures on its test set: baselines, teacher and student before, student after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlembed.label_starts import AnsweringModel
from mlembed.machine import Machine
from mlembed.prepare_labels import LabelData
from mlembed.report.bootstrap import Estimate
from mlembed.report.report import Report
from mlembed.run.directory import RunDirectory
from mlembed.run.results import read_baseline, write_report
from mlembed.tasks.answering import Scores
from mlembed.tasks.held_out_labels import LabelledSet

Systems = Mapping[str, Mapping[str, Mapping[str, Estimate]]]


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

    def baseline(
        self, run: RunDirectory, *, before: AnsweringModel | None, goes_on: bool, signature: Mapping[str, Any]
    ) -> Systems:
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
            return {name: scores for name, scores in known.systems.items() if name != "after"}
        systems = first(self._without_models)
        if self.teacher is not None:
            systems["teacher"], _ = self.measure(self.teacher, what="testing the teacher")
        if before is not None:
            systems["before"], _ = self.measure(before, what="testing the zero-shot student")
        about = {"data": self.data.counts, "of": signature, "source_language": self.data.source_language}
        # Scores and tags that are learnt from people alone are compared with nothing.
        if systems and self.machine.processes.is_first:
            write_report(Report(systems, test_set=self.data.test.name, metadata=about), run.path)
        return systems

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

    def measure(self, model: AnsweringModel, *, what: str) -> tuple[Scores, Mapping[str, Any]]:
        """A model's scores, and details by label.

        Args:
            model: teacher or student.
            what: what the screen calls it.
        """
        answering = self.test.answering
        probabilities = self.test.probabilities(
            lambda examples: self.machine.answer(model, answering.inputs(model, examples), what=what)
        )
        return self.test.measure(probabilities), self.test.details(probabilities)
