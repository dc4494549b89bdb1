"""The joint objective of tasks with labels: answers of people and answers of a teacher, each term with its weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mlembed.cache.stored_vectors import StoredVectors
from mlembed.data.label_plan import LabelBatch
from mlembed.data.plan import Batch
from mlembed.inputs import Inputs, Padded
from mlembed.losses import LossOutput
from mlembed.losses.soft_labels import SoftLabelLoss
from mlembed.models.text_model import TextModel
from mlembed.tasks.answering import Answering
from mlembed.tasks.embedding import DISTILLATION
from mlembed.tokens import Tokens

SUPERVISED, UNLABELLED = "supervised", "unlabelled"
# Not a term of its own: it goes with the distillation, for which both models read the same texts.
REPRESENTATION = "representation"


@dataclass(frozen=True)
class LearningTeacher:
    """A teacher that is trained too: it learns from the labels of its language, and answers anew at each step.

    Args:
        model: the teacher.
        tokens: of the texts of the parallel corpus, for the teacher; None without one.
        unlabelled: what the teacher reads of the rows without labels; None without any.
        supervised: what it reads of the labelled rows; None without any.
        is_source_N: which labelled rows are in its language.
    """

    model: TextModel
    tokens: Tokens | None
    unlabelled: Inputs | None
    supervised: Inputs | None
    is_source_N: np.ndarray | None


class JointTask:
    """`sum_k w_k * (sum of the losses of term k) / (sum of the weights of term k)`.

    Args:
        answering: the task.
        distance: between the student's and the teacher's logits.
        weights: of each term, at the beginning.
        final_weights: of each term, at the end.
        answers: of people, to all labelled rows (or their words).
        targets: term -> the teacher's logits: of the sources of the parallel corpus, `[S, L]`, and of the rows without
            labels (or their words), `[A, L]`; what the teacher's head reads of the sources, `[S, D]`. A teacher that
            learns needs none.
        representation: how much the distance between what the heads read counts, beside 1 for that between the
            answers; it is the squared error, relative to the length of the teacher's vector.
        carried: of rows whose tags were carried over from a source that the teacher tagged, the numbers of the tags of
            all words; None without any.
        teacher: a teacher that learns; None: it is frozen.
    """

    def __init__(
        self,
        answering: Answering,
        *,
        distance: SoftLabelLoss,
        weights: Mapping[str, float],
        final_weights: Mapping[str, float],
        answers: np.ndarray,
        targets: Mapping[str, np.ndarray | StoredVectors],
        representation: float = 0.0,
        carried: np.ndarray | None = None,
        teacher: LearningTeacher | None = None,
    ) -> None:
        self.answering, self.distance = answering, distance
        self.first_weights, self.final_weights = weights, final_weights
        self.answers, self.targets, self.teacher = answers, targets, teacher
        self.representation, self.carried = representation, carried

    @property
    def can_be_cut(self) -> bool:
        """Each answer has a loss of its own."""
        return True

    def weights(self, progress: float) -> Mapping[str, float]:
        """From the first to the final ones in a straight line."""
        first, last = self.first_weights, self.final_weights
        return {term: first[term] + progress * (last[term] - first[term]) for term in first}

    def learners(self) -> Sequence[TextModel]:
        """The teacher, where it learns."""
        return () if self.teacher is None else (self.teacher.model,)

    def loss(self, student: nn.Module, term: str, batch: Batch | LabelBatch) -> LossOutput:
        """See `Task`."""
        if isinstance(batch, Batch):
            return self._parallel(student, batch)
        logits_ML = _answer(student, batch.inputs)
        if term == SUPERVISED:
            return self._supervised(logits_ML, batch)
        if term == DISTILLATION:
            assert self.carried is not None
            carried_M = torch.from_numpy(self.carried[batch.answers_M]).to(logits_ML.device)
            return _weighted(self.answering.loss(logits_ML, carried_M), batch.weight_M)
        teacher_ML = self._unlabelled(batch, logits_ML.device)
        if batch.inputs.word_M is None:
            return _weighted(self.distance(logits_ML, teacher_ML), batch.weight_M)
        # A word that the teacher did not read: it says nothing about it.
        read_M = ~teacher_ML.isnan().any(dim=1)
        return _weighted(self.distance(logits_ML, teacher_ML.nan_to_num()), batch.weight_M * read_M)

    def _parallel(self, student: nn.Module, batch: Batch) -> LossOutput:
        """Each text beside its source."""
        if not self.representation:
            logits_BL = student(batch.ids_BT, batch.mask_BT)
            (teacher_GL,) = self._sources(batch, DISTILLATION)
            return _weighted(self.distance(logits_BL, teacher_GL[batch.group_B]), batch.weight_B)
        logits_BL, read_BD = student(batch.ids_BT, batch.mask_BT, with_representation=True)
        teacher_GL, teacher_GD = self._sources(batch, DISTILLATION, REPRESENTATION)
        teacher_BD = teacher_GD[batch.group_B]
        apart_B = (read_BD - teacher_BD).square().sum(dim=1) / teacher_BD.square().sum(dim=1)
        loss_B = self.representation * apart_B
        if logits_BL.shape[1]:
            # What compares vectors has nothing to say of a single text.
            loss_B = loss_B + self.distance(logits_BL, teacher_GL[batch.group_B])
        return _weighted(loss_B, batch.weight_B)

    def _sources(self, batch: Batch, *wanted: str) -> Sequence[Tensor]:
        """The teacher's logits of the sources of a batch, `[G, L]`, and what its head reads of them, `[G, D]`."""
        device = batch.ids_BT.device
        if self.teacher is None:
            rows = [np.asarray(self.targets[name][batch.source_G]) for name in wanted]
            return [torch.from_numpy(one).to(device).float() for one in rows]
        assert self.teacher.tokens is not None
        padded = self.teacher.tokens.padded(batch.source_G, device=device)
        with _asking(self.teacher.model):
            found = self.teacher.model(*padded, with_representation=REPRESENTATION in wanted)
        return found if REPRESENTATION in wanted else [found]

    def _unlabelled(self, batch: LabelBatch, device: torch.device) -> Tensor:
        if self.teacher is None:
            return torch.from_numpy(np.asarray(self.targets[UNLABELLED][batch.answers_M])).to(device).float()
        assert self.teacher.unlabelled is not None
        padded = self.teacher.unlabelled.padded(batch.rows_B, device=device)
        with _asking(self.teacher.model):
            own_ML = _answer(self.teacher.model, padded)
        if padded.word_M is None:
            return own_ML
        # Of long texts, teacher and student may not read the same words.
        _, mine, theirs = np.intersect1d(batch.answers_M, padded.word_M, assume_unique=True, return_indices=True)
        teacher_ML = own_ML.new_full((len(batch.answers_M), own_ML.shape[1]), torch.nan)
        teacher_ML[torch.from_numpy(mine).to(device)] = own_ML[torch.from_numpy(theirs).to(device)]
        return teacher_ML

    def _supervised(self, logits_ML: Tensor, batch: LabelBatch) -> LossOutput:
        answers_M = torch.from_numpy(self.answers[batch.answers_M]).to(logits_ML.device)
        output = _weighted(self.answering.loss(logits_ML, answers_M), batch.weight_M)
        if self.teacher is None or self.teacher.is_source_N is None or self.teacher.supervised is None:
            return output
        is_source_B = self.teacher.is_source_N[batch.rows_B]
        rows_B = batch.rows_B[is_source_B]
        if not len(rows_B):
            return output
        padded = self.teacher.supervised.padded(rows_B, device=logits_ML.device)
        own_ML = _answer(self.teacher.model, padded)
        numbers = rows_B if padded.word_M is None else padded.word_M
        own_M = torch.from_numpy(self.answers[numbers]).to(logits_ML.device)
        # Its tokenizer may read other words of a row than the student's, so weights are those of the rows.
        weight_B = batch.weight_B[torch.from_numpy(is_source_B).to(batch.weight_B.device)]
        weight_M = weight_B if padded.row_M is None else weight_B[padded.row_M]
        return LossOutput(output.sum + (self.answering.loss(own_ML, own_M) * weight_M).sum(), output.count)


@contextmanager
def _asking(teacher: nn.Module) -> Iterator[None]:
    """Let a teacher that learns answer a student, without dropout, and without learning from it.

    It learns from labels alone: with a gradient of the distillation, both agree on one answer to all parallel text.
    """
    teacher.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        teacher.train()


def _weighted(loss_M: Tensor, weight_M: Tensor) -> LossOutput:
    return LossOutput((loss_M * weight_M).sum(), weight_M.sum())


def _answer(model: nn.Module, one: Padded) -> Tensor:
    logits_ML: Tensor = model(*one.arguments)
    return logits_ML
