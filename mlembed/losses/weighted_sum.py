"""A weighted sum of losses."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mlembed.losses.output import DistillationLoss, LossOutput


class SumLoss:
    """`l_i = sum_k w_k l_ik`: several losses of the same texts, each with its weight.

    Args:
        terms: name -> loss.
        weights: name -> weight; losses with the weight 0 are not computed.
    """

    def __init__(self, terms: Mapping[str, DistillationLoss], *, weights: Mapping[str, float]) -> None:
        self.terms = [(loss, weights[name]) for name, loss in terms.items() if weights[name] > 0]
        self.compares_texts = any(loss.compares_texts for loss, _ in self.terms)

    def __call__(self, student_ND: Tensor, *, teacher_GD: Tensor, group_N: Tensor, weight_N: Tensor) -> LossOutput:
        """See `DistillationLoss`."""
        total = student_ND.new_zeros(())
        for loss, weight in self.terms:
            output = loss(student_ND, teacher_GD=teacher_GD, group_N=group_N, weight_N=weight_N)
            total = total + weight * output.sum
        return LossOutput(total, weight_N.sum())
