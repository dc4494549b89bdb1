"""An encoder that answers how similar two texts are: the cosine of their vectors."""

from __future__ import annotations

from typing import Any, TypeVar

import torch.nn.functional as F
from torch import Tensor

from mlembed.models.encoder import Encoder

Kind = TypeVar("Kind", bound=Encoder)


class BiEncoder(Encoder):
    """An encoder for pairs of texts; it is saved, and used, as the encoder that it is."""

    @classmethod
    def of(cls, encoder: Encoder) -> BiEncoder:
        """Take over an encoder with all its parts."""
        return _made_of(encoder, cls)

    @property
    def answers(self) -> int:
        """See `TextModel`."""
        return 1

    def reader(self) -> Encoder:
        """The encoder of single texts; it shares the weights."""
        return _made_of(self, Encoder)

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
        """Cosines of pairs, or vectors of single texts.

        Args:
            ids_BT: token ids, padded; of P pairs, the P first texts and then the P second ones.
            mask_BT: 1 for a token, 0 for padding.
            types_BT: not used: the texts of a pair are read apart.
            row_M: not used.
            position_M: not used.
            with_representation: the texts are single ones.

        Returns:
            `[P, 1]`; with the representation a tuple of nothing, `[B, 0]`, and the vectors, `[B, D]`.
        """
        vectors_BD = super().forward(ids_BT, mask_BT)
        if with_representation:
            return vectors_BD[:, :0], vectors_BD
        first_PD, second_PD = vectors_BD.chunk(2)
        return F.cosine_similarity(first_PD, second_PD, dim=1).unsqueeze(1)


def _made_of(encoder: Encoder, kind: type[Kind]) -> Kind:
    """An encoder of another kind with the same parts."""
    return kind(
        encoder.transformer,
        tokenizer=encoder.tokenizer,
        pooling=encoder.pooling,
        dense=list(encoder.dense),
        normalize=encoder.normalize,
        max_length=encoder.max_length,
    )
