"""What every loss returns: a sum and the count that the trainer divides it by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class LossOutput:
    """A loss that is not divided yet, so that accumulation and uneven processes are exact.

    Args:
        sum: scalar; the weighted sum of the losses of the texts, with gradient.
        count: scalar; the sum of the weights of the texts, without gradient.
    """

    sum: Tensor
    count: Tensor


class DistillationLoss(Protocol):
    """The distance between the student's vectors and the teacher's."""

    @property
    def compares_texts(self) -> bool:
        """Whether the loss of a text depends on the other texts of the batch: half a batch is another loss then."""
        ...

    def __call__(self, student_ND: Tensor, *, teacher_GD: Tensor, group_N: Tensor, weight_N: Tensor) -> LossOutput:
        """Compare N student vectors with the teacher vectors of their G sources.

        Args:
            student_ND: student vectors of all texts of a batch (sources and translations), float32.
            teacher_GD: teacher vectors of the G distinct sources of the batch, float32.
            group_N: for each text the row of its source in `teacher_GD`, int64.
            weight_N: weight of each text, float32.
        """
        ...
