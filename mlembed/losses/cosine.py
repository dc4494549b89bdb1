"""One minus the cosine."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mlembed.losses.output import LossOutput


class CosineLoss:
    """One minus the cosine between student and teacher vectors.

    `l_i = 1 - (s_i . t_i) / (|s_i| |t_i|)` for a text i. It matches direction alone: use it where the teacher's vectors
    are not normalized and their length has no meaning. For vectors of length 1 it is `D / 2` times the mean squared
    error.

    Source: Sanh et al. (2019), DistilBERT, https://arxiv.org/abs/1910.01108 (the cosine term, there on hidden states).
    """

    compares_texts = False

    def __call__(self, student_ND: Tensor, *, teacher_GD: Tensor, group_N: Tensor, weight_N: Tensor) -> LossOutput:
        """See `DistillationLoss`."""
        loss_N = 1 - F.cosine_similarity(student_ND, teacher_GD[group_N], dim=1)
        return LossOutput((loss_N * weight_N).sum(), weight_N.sum())
