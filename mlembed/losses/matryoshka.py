"""Vectors that can be cut: the first dimensions alone are to be good vectors too."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from mlembed.losses.output import LossOutput


class MatryoshkaLoss:
    """One minus the cosine, of the whole vectors and of their first dimensions, averaged.

    `l_i = 1/K * sum_k (1 - cos(s_i[:w_k], t_i[:w_k]))` for the widths w_1, ... and the whole width. The teacher's first
    dimensions have to mean something: a run with this loss orders them by principal components.

    Args:
        widths: numbers of first dimensions; the whole width is always one more.

    Source: Kusupati et al. (2022), Matryoshka Representation Learning, https://arxiv.org/abs/2205.13147.
    """

    compares_texts = False

    def __init__(self, *, widths: Sequence[int]) -> None:
        self.widths = tuple(sorted(set(widths)))

    def __call__(self, student_ND: Tensor, *, teacher_GD: Tensor, group_N: Tensor, weight_N: Tensor) -> LossOutput:
        """See `DistillationLoss`."""
        teacher_ND = teacher_GD[group_N]
        widths = (*self.widths, student_ND.shape[1])
        similarity_N = sum(F.cosine_similarity(student_ND[:, :width], teacher_ND[:, :width]) for width in widths)
        return LossOutput(((1 - similarity_N / len(widths)) * weight_N).sum(), weight_N.sum())
