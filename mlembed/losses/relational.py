"""The teacher's similarities within a batch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mlembed.losses.output import LossOutput


class RelationalLoss:
    """Match the similarities between the texts of a batch with the teacher's similarities between their sources.

    `l_i = 1/N * sum_j (cos(s_i, s_j) - cos(t_g(i), t_g(j)))^2`. It asks for the teacher's geometry, not for its axes,
    so it also works where student and teacher differ in width; translations of one source are drawn together.

    Source: Park et al. (2019), Relational Knowledge Distillation, https://arxiv.org/abs/1904.05068 (there with
    distances and angles); similarity matrices as in Tung and Mori (2019), https://arxiv.org/abs/1907.09682.
    """

    compares_texts = True

    def __call__(self, student_ND: Tensor, *, teacher_GD: Tensor, group_N: Tensor, weight_N: Tensor) -> LossOutput:
        """See `DistillationLoss`."""
        student_ND = F.normalize(student_ND, dim=1)
        teacher_ND = F.normalize(teacher_GD, dim=1)[group_N]
        loss_N = (student_ND @ student_ND.T - teacher_ND @ teacher_ND.T).square().mean(dim=1)
        return LossOutput((loss_N * weight_N).sum(), weight_N.sum())
