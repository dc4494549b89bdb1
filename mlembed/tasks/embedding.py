"""Sentence embeddings: each text of a group is to get the teacher's vector of the group's source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from mlembed.data.plan import Batch
from mlembed.errors import TrainingFailed
from mlembed.losses import DistillationLoss, LossOutput
from mlembed.models.text_model import TextModel

# The term of the loss between teacher and student.
DISTILLATION = "distillation"


class Targets(Protocol):
    """The teacher's vectors `[S, D]`, float16: an array, or something whose rows are read or made when asked for."""

    def __getitem__(self, wanted: Any, /) -> np.ndarray:
        """The vectors of some sources."""
        ...


class EmbeddingTask:
    """Distillation of sentence vectors.

    Args:
        loss: the distance between student and teacher.
        targets_SD: the teacher's vectors of the S sources of the training corpus.
    """

    def __init__(self, loss: DistillationLoss, *, targets_SD: Targets) -> None:
        self.distance = loss
        self.targets_SD = targets_SD

    def loss(self, student: nn.Module, term: str, batch: Batch) -> LossOutput:
        """See `Task`."""
        student_ND = student(batch.ids_BT, batch.mask_BT)
        teacher_GD = torch.from_numpy(self.targets_SD[batch.source_G]).to(student_ND.device).float()
        return self.distance(student_ND, teacher_GD=teacher_GD, group_N=batch.group_B, weight_N=batch.weight_B)

    @property
    def can_be_cut(self) -> bool:
        """See `Task`."""
        return not self.distance.compares_texts

    def weights(self, progress: float) -> Mapping[str, float]:
        """There is one term."""
        return {DISTILLATION: 1.0}

    def learners(self) -> Sequence[TextModel]:
        """The teacher is frozen."""
        return ()


def check_targets(targets_SD: np.ndarray, sources: Sequence[str]) -> None:
    """Refuse teacher vectors that are not finite.

    Raises:
        TrainingFailed: it names the sentence.
    """
    bad = np.flatnonzero(~np.isfinite(targets_SD).all(axis=1))
    if len(bad):
        raise TrainingFailed(
            f"the teacher gives vectors that are not finite, {len(bad)} in all, the first for {sources[bad[0]]!r}. "
            "Check model.teacher.name, or try trainer.precision=fp32."
        )
