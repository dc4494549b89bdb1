"""InfoNCE against the teacher's vectors."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mlembed.losses.output import LossOutput


class ContrastiveLoss:
    """InfoNCE: among the teacher vectors of all sources in the batch, find the one of the own source.

    `l_i = -log( exp(cos(s_i, t_g(i)) / T) / sum_g exp(cos(s_i, t_g) / T) )` with g over the distinct sources of the
    batch. Texts of the same source share one teacher vector, so a translation is never the negative of another.

    Args:
        temperature: T, larger than 0.

    Source: van den Oord et al. (2018), https://arxiv.org/abs/1807.03748; with a teacher's vectors as keys, Tian et al.
    (2020), Contrastive Representation Distillation, https://arxiv.org/abs/1910.10699.
    """

    compares_texts = True

    def __init__(self, *, temperature: float) -> None:
        self.temperature = temperature

    def __call__(self, student_ND: Tensor, *, teacher_GD: Tensor, group_N: Tensor, weight_N: Tensor) -> LossOutput:
        """See `DistillationLoss`."""
        cosine_NG = F.normalize(student_ND, dim=1) @ F.normalize(teacher_GD, dim=1).T
        loss_N = F.cross_entropy(cosine_NG / self.temperature, group_N, reduction="none")
        return LossOutput((loss_N * weight_N).sum(), weight_N.sum())
