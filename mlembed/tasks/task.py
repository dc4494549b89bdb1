"""What the loop asks of a task: the loss of a batch, the weights of its terms, and what learns beside the student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import nn

from mlembed.losses import LossOutput
from mlembed.models.text_model import TextModel


class Task(Protocol):
    """What a student learns."""

    def loss(self, student: nn.Module, term: str, batch: Any) -> LossOutput:
        """Forward and compare.

        Args:
            student: the model, or what wraps it.
            term: of the loss, as the plan names it.
            batch: of that term's plan.

        Returns:
            The sum over the texts of the batch, and their weights.
        """
        ...

    @property
    def can_be_cut(self) -> bool:
        """Whether the loss of a batch is the sum of those of its pieces."""
        ...

    def weights(self, progress: float) -> Mapping[str, float]:
        """The weight of each term.

        Args:
            progress: share of the steps that are done, 0 to 1.
        """
        ...

    def learners(self) -> Sequence[TextModel]:
        """Models that are trained beside the student."""
        ...
