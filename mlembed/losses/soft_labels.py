"""Losses against what a teacher said: its probabilities, its logits, or its first choice; one value for each answer."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SoftLabelLoss = Callable[[Tensor, Tensor], Tensor]


def kl(student_ML: Tensor, teacher_ML: Tensor, *, temperature: float, problem: str) -> Tensor:
    """Kullback-Leibler divergence of the student's probabilities from the teacher's, times T^2, `[M]`.

    `T^2 * sum_l p_l (log p_l - log q_l)` with `p = softmax(teacher / T)`, `q = softmax(student / T)`; with several
    labels at once, and for a score, the same of each label and its opposite, the mean over the labels.

    Args:
        student_ML: logits.
        teacher_ML: logits.
        temperature: T; above 1 the order among the less likely labels counts more.
        problem: `one`, `many` or `score`.

    Source: Hinton, Vinyals and Dean (2015), Distilling the Knowledge in a Neural Network,
    https://arxiv.org/abs/1503.02531.
    """
    student_ML, teacher_ML = student_ML / temperature, teacher_ML / temperature
    if problem == "one":
        student_log_ML, teacher_log_ML = F.log_softmax(student_ML, dim=1), F.log_softmax(teacher_ML, dim=1)
        divergence_M = (teacher_log_ML.exp() * (teacher_log_ML - student_log_ML)).sum(dim=1)
        return divergence_M * temperature**2
    yes_ML = teacher_ML.sigmoid() * (F.logsigmoid(teacher_ML) - F.logsigmoid(student_ML))
    no_ML = (-teacher_ML).sigmoid() * (F.logsigmoid(-teacher_ML) - F.logsigmoid(-student_ML))
    return (yes_ML + no_ML).mean(dim=1) * temperature**2


def mse(student_ML: Tensor, teacher_ML: Tensor, *, temperature: float, problem: str) -> Tensor:
    """Squared distance of the logits without their common shift, which says nothing: the mean over the labels, `[M]`.

    Source: Ba and Caruana (2014), Do Deep Nets Really Need to be Deep?, https://arxiv.org/abs/1312.6184.
    """
    if problem == "one":
        student_ML = student_ML - student_ML.mean(dim=1, keepdim=True)
        teacher_ML = teacher_ML - teacher_ML.mean(dim=1, keepdim=True)
    return (student_ML - teacher_ML).square().mean(dim=1)


def hard(student_ML: Tensor, teacher_ML: Tensor, *, temperature: float, problem: str) -> Tensor:
    """Cross-entropy with the teacher's first choice, `[M]`; for a score, the squared error."""
    if problem == "one":
        return F.cross_entropy(student_ML, teacher_ML.argmax(dim=1), reduction="none")
    if problem == "score":
        return (student_ML.sigmoid() - teacher_ML.sigmoid()).square().mean(dim=1)
    return F.binary_cross_entropy_with_logits(student_ML, (teacher_ML > 0).float(), reduction="none").mean(dim=1)


SOFT_LABELS: dict[str, Callable[..., Tensor]] = {"kl": kl, "mse": mse, "hard": hard}


def make_soft_labels(name: str, *, temperature: float, problem: str) -> SoftLabelLoss:
    """The distance of a configuration: a name of `SOFT_LABELS`, with its settings."""
    loss = SOFT_LABELS[name]

    def distance(student_ML: Tensor, teacher_ML: Tensor) -> Tensor:
        with torch.autocast(student_ML.device.type, enabled=False):
            return loss(student_ML.float(), teacher_ML.float(), temperature=temperature, problem=problem)

    return distance
