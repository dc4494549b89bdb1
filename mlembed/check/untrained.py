"""A session with labels whose stages train nothing: its models are as they would be before they learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlembed.data.examples import Example
from mlembed.data.steps import steps_in
from mlembed.export.model_folder import export_model
from mlembed.label_session import LabelSession
from mlembed.label_starts import AnsweringModel
from mlembed.stages import Stages, label_plan


@dataclass(frozen=True)
class Stage:
    """A training on labels that comes before the distillation.

    Args:
        name: of the stage.
        rows: labelled rows.
        steps: its steps, in all its epochs.
        texts: texts that it reads, in all its epochs.
    """

    name: str
    rows: int
    steps: int
    texts: int


@dataclass(frozen=True)
class Untrained(Stages):
    """Stages that note what they would train on, and give the model back as it is."""

    noted: list[Stage] = field(default_factory=list)

    def fine_tune(self, model: AnsweringModel, examples: Sequence[Example], *, name: str, fingerprint: str) -> Path:
        """See `Stages`; nothing is learnt."""
        self.refuse_nothing(examples, name=name)
        plan = label_plan(self.config, self.answering, model, examples)
        assert self.config.task.kind != "embedding"
        epochs = self.config.task.fine_tuning.epochs
        batches = self.config.trainer.accumulate * self.machine.processes.count
        steps = epochs * steps_in(plan, 0, batches_per_step=batches)
        self.noted.append(Stage(name, len(examples), steps, epochs * len(examples)))
        folder = self.run.path / name
        folder.mkdir()
        export_model(model, folder, card="# An untrained model\n")
        return folder


class UntrainedSession(LabelSession):
    """A session of `Untrained` stages."""

    @property
    def noted(self) -> list[Stage]:
        """What would be trained before the distillation."""
        assert isinstance(self.stages, Untrained)
        return self.stages.noted

    def _carried(self, teacher: AnsweringModel | None) -> list[Example]:
        # What an untrained teacher says is nothing to carry over.
        return [] if self.noted else super()._carried(teacher)
