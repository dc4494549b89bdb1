"""Mean squared error."""

from __future__ import annotations

from torch import Tensor

from mlembed.losses.output import LossOutput


class MSELoss:
    """Mean squared error between student and teacher vectors.

    `l_i = 1/D * sum_d (s_id - t_id)^2` for a text i, with s the student's vector and t the teacher's vector of the
    source sentence. It matches length as well as direction.

    Source: Reimers and Gurevych (2020), Making Monolingual Sentence Embeddings Multilingual using Knowledge
    Distillation, https://arxiv.org/abs/2004.09813.
    """

    compares_texts = False

    def __call__(self, student_ND: Tensor, *, teacher_GD: Tensor, group_N: Tensor, weight_N: Tensor) -> LossOutput:
        """See `DistillationLoss`."""
        loss_N = (student_ND - teacher_GD[group_N]).square().mean(dim=1)
        return LossOutput((loss_N * weight_N).sum(), weight_N.sum())
