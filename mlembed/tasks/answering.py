"""What a task with labels is made of: how its rows are read, what is learnt from their answers, how it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from mlembed.data.examples import Example
from mlembed.errors import TrainingFailed
from mlembed.inputs import Inputs
from mlembed.models.classifier import Head
from mlembed.models.text_model import TextModel
from mlembed.report.bootstrap import RESAMPLES, Estimate

Poll = Callable[[], None]
Scores = dict[str, dict[str, Estimate]]


def check_answers(logits_AL: np.ndarray, *, inputs: Inputs, examples: Sequence[Example]) -> None:
    """Refuse answers that are not finite: without them, a mean over the others would look better than it is.

    Args:
        logits_AL: of all rows, or of all their words; words that were not read have no numbers.
        inputs: what was read.
        examples: the rows.

    Raises:
        TrainingFailed: it names the row.
    """
    bad_A = ~np.isfinite(logits_AL).all(axis=1)
    if inputs.first_W is not None:
        bad_A &= inputs.first_W >= 0
    if not bad_A.any():
        return
    first = int(bad_A.argmax())
    row = first if inputs.word_offsets is None else int(np.searchsorted(inputs.word_offsets, first, side="right")) - 1
    raise TrainingFailed(
        f"{examples[row].place}: the model's answer is not finite ({int(bad_A.sum())} answers in all). Its weights are "
        "broken, or the precision is too low for it: try another model, a smaller learning rate, or "
        "trainer.precision=fp32."
    )


class Answering(Protocol):
    """A task with labels; M answers are M rows, or M words of some rows."""

    head: Head

    def inputs(self, model: TextModel, examples: Sequence[Example], *, poll: Poll = lambda: None) -> Inputs:
        """What a model reads of some rows."""
        ...

    def answers(self, examples: Sequence[Example]) -> np.ndarray:
        """The answers of people, of all rows (or of all their words) one after another, as numbers."""
        ...

    def loss(self, logits_ML: Tensor, answers_M: Tensor) -> Tensor:
        """The distance of each of M answers from that of people, `[M]`."""
        ...

    def draws(self, examples: Sequence[Example]) -> np.ndarray | None:
        """How often each row is drawn; None: each once in an epoch."""
        ...

    def probabilities(self, logits_AL: np.ndarray) -> np.ndarray:
        """What the logits of all answers say; a word that was not read has a logit that is not a number."""
        ...

    def score(
        self, examples: Sequence[Example], probabilities_AL: np.ndarray, *, seed: int, resamples: int = RESAMPLES
    ) -> dict[str, Estimate]:
        """Metrics of one language's rows."""
        ...

    def details(self, examples: Sequence[Example], probabilities_AL: np.ndarray) -> Mapping[str, Any]:
        """What a report says beside the metrics, as JSON values: by label, and confusions."""
        ...

    def choices(self, examples: Sequence[Example], probabilities_AL: np.ndarray) -> list[Any]:
        """The answer to each row that a person can compare: a label, labels, tags; a rounded score."""
        ...
