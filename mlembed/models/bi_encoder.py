"""An encoder that answers for two texts by their vectors: how similar they are, or which label they have together."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlembed.models.classifier import Head
from mlembed.models.encoder import Encoder

Kind = TypeVar("Kind", bound=Encoder)

# Without labels, the cosine of the two vectors is the answer.
COSINE = Head("vectors", ("similarity",), "score")


class PairHead(nn.Module):
    """Two vectors u and v to labels: a linear layer that reads u, v and |u - v|.

    Numbers of a vector of length 1 are small; they are multiplied by the square root of their number, so that a new
    layer learns as fast from them as from others.

    Args:
        width: dimensions D of a vector.
        labels: number of labels L.

    Source: Reimers and Gurevych (2019), Sentence-BERT, https://arxiv.org/abs/1908.10084 (classification objective).
    """

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * width, labels)

    def forward(self, first_PD: Tensor, second_PD: Tensor) -> Tensor:
        """Logits, `[P, L]`."""
        read_PE = torch.cat([first_PD, second_PD, (first_PD - second_PD).abs()], dim=1)
        logits_PL: Tensor = self.linear(read_PE * math.sqrt(first_PD.shape[1]))
        return logits_PL


class BiEncoder(Encoder):
    """An encoder for pairs of texts; it is saved, and used, as the encoder that it is, with its head beside it."""

    head: Head
    # A module has no types of its own.
    pair_head: Any

    @classmethod
    def of(cls, encoder: Encoder, head: Head = COSINE, *, seed: int = 0) -> BiEncoder:
        """Take over an encoder with all its parts.

        Args:
            encoder: it shares the weights.
            head: what is answered; labels get a new `PairHead`.
            seed: of its weights.
        """
        model = _with_parts(encoder, cls)
        model.head, model.pair_head = head, None
        if head.problem != "score":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model.pair_head = PairHead(model.width, len(head.labels))
        return model

    @property
    def answers(self) -> int:
        """See `TextModel`."""
        return len(self.head.labels)

    @property
    def top_names(self) -> tuple[str, ...]:
        """See `TextModel`."""
        return (*super().top_names, "pair_head.")

    def reader(self) -> Encoder:
        """The encoder of single texts; it shares the weights."""
        return _with_parts(self, Encoder)

    def freeze_head(self) -> None:
        """Keep the head as it is, where there is one."""
        if self.pair_head is not None:
            self.pair_head.requires_grad_(False)

    def forward(
        self,
        ids_BT: Tensor,
        mask_BT: Tensor,
        types_BT: Tensor | None = None,
        row_M: Tensor | None = None,
        position_M: Tensor | None = None,
        *,
        with_representation: bool = False,
    ) -> Any:
        """Cosines or logits of pairs, or vectors of single texts.

        Args:
            ids_BT: token ids, padded; of P pairs, the P first texts and then the P second ones.
            mask_BT: 1 for a token, 0 for padding.
            types_BT: not used: the texts of a pair are read apart.
            row_M: not used.
            position_M: not used.
            with_representation: the texts are single ones.

        Returns:
            `[P, L]`; with the representation a tuple of nothing, `[B, 0]`, and the vectors, `[B, D]`.
        """
        vectors_BD = super().forward(ids_BT, mask_BT)
        if with_representation:
            return vectors_BD[:, :0], vectors_BD
        first_PD, second_PD = vectors_BD.chunk(2)
        if self.pair_head is None:
            return F.cosine_similarity(first_PD, second_PD, dim=1).unsqueeze(1)
        with torch.autocast(vectors_BD.device.type, enabled=False):
            return self.pair_head(first_PD, second_PD)


def take_pair_head(student: BiEncoder, teacher: BiEncoder) -> bool:
    """Give a student whose vectors are to be the teacher's its head, too; returns whether it fits."""
    if student.width != teacher.width or student.head != teacher.head:
        return False
    if teacher.pair_head is not None:
        student.pair_head.load_state_dict(teacher.pair_head.state_dict())
    return True


def _with_parts(encoder: Encoder, kind: type[Kind]) -> Kind:
    """An encoder of another kind with the same parts."""
    return kind(
        encoder.transformer,
        tokenizer=encoder.tokenizer,
        pooling=encoder.pooling,
        dense=list(encoder.dense),
        normalize=encoder.normalize,
        max_length=encoder.max_length,
    )
