"""Losses against what people said: one label, several labels, or a score; one value for each answer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def one_label(
    logits_ML: Tensor, labels_M: Tensor, *, class_weights_L: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy, `[M]`.

    Args:
        logits_ML: of the student.
        labels_M: numbers of the labels, int64.
        class_weights_L: how much each label counts; None: all the same.
        smoothing: share of the target that is spread evenly over all labels.

    Source: label smoothing, Szegedy et al. (2016), Rethinking the Inception Architecture for Computer Vision,
    https://arxiv.org/abs/1512.00567.
    """
    loss_M = F.cross_entropy(logits_ML, labels_M, reduction="none", label_smoothing=smoothing)
    return loss_M if class_weights_L is None else loss_M * class_weights_L[labels_M]


def many_labels(
    logits_ML: Tensor, labels_ML: Tensor, *, class_weights_L: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Binary cross-entropy, the mean over the labels, `[M]`.

    Args:
        logits_ML: of the student.
        labels_ML: 1 for a label that is given, 0 for one that is not.
        class_weights_L: how much a given label counts, beside 1 for one that is not; None: 1.
        smoothing: how far targets are drawn to one half.
    """
    target_ML = labels_ML.float() * (1 - smoothing) + 0.5 * smoothing
    loss_ML = F.binary_cross_entropy_with_logits(logits_ML, target_ML, reduction="none")
    if class_weights_L is not None:
        loss_ML = loss_ML * torch.where(labels_ML > 0, class_weights_L, 1.0)
    return loss_ML.mean(dim=1)


def score(logits_ML: Tensor, scores_M: Tensor) -> Tensor:
    """Squared error of a score between 0 and 1, which the logit's sigmoid is, `[M]`."""
    return (logits_ML[:, 0].sigmoid() - scores_M).square()
