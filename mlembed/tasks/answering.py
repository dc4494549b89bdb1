"""What a task with labels is made of: how its rows are read, what is learnt from their answers, how it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from mlembed.data.examples import Example
from mlembed.inputs import Inputs
from mlembed.models.classifier import Head
from mlembed.models.text_model import TextModel
from mlembed.report.bootstrap import RESAMPLES, Estimate

Poll = Callable[[], None]
Scores = dict[str, dict[str, Estimate]]


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
