"""Train only the embedding rows that the corpus uses: the others cost memory and time, and learn nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlembed.models.text_model import TextModel

UNUSED = -1


class CompactEmbedding(nn.Embedding):
    """An embedding table of V rows, U of which are parameters.

    The others stay as they are, bit for bit, and are looked up in the full table: held-out text may have tokens that
    training never sees. Weight decay does not touch them, and the optimizer holds no state for them.

    Args:
        embedding: the full table, `[V, D]`.
        used_U: the token ids that are trained, distinct.
        sparse: let gradients hold the rows of a batch's tokens alone, for an optimizer that moves these alone.
    """

    full_VD: Tensor
    used_U: Tensor
    position_V: Tensor

    def __init__(self, embedding: nn.Embedding, used_U: np.ndarray, *, sparse: bool = False) -> None:
        used = torch.from_numpy(used_U.astype(np.int64))
        rows_UD = embedding.weight.detach()[used].clone()
        super().__init__(
            rows_UD.shape[0],
            rows_UD.shape[1],
            sparse=sparse,
            _weight=rows_UD,
            _freeze=not embedding.weight.requires_grad,
        )
        position_V = torch.full((embedding.num_embeddings,), UNUSED)
        position_V[used] = torch.arange(len(used))
        # A row of the full table; that of the trained ones has a gradient like all.
        self.padding_row = embedding.padding_idx
        # Not in the state: the full table is put together when it is asked for.
        self.register_buffer("full_VD", embedding.weight.detach().clone(), persistent=False)
        self.register_buffer("used_U", used, persistent=False)
        self.register_buffer("position_V", position_V, persistent=False)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """`[B, T] -> [B, T, D]`."""
        position_BT = self.position_V[ids_BT]
        if self.training:
            return F.embedding(position_BT, self.weight, sparse=self.sparse)
        trained_BTD = F.embedding(position_BT.clamp(min=0), self.weight)
        return torch.where((position_BT == UNUSED).unsqueeze(-1), F.embedding(ids_BT, self.full_VD), trained_BTD)

    def lend_table(self) -> Tensor:
        """The full table with the trained rows in it, `[V, D]`; no copy, which may be most of the memory."""
        with torch.no_grad():
            return self.full_VD.index_copy_(0, self.used_U, self.weight.detach())

    def take_back_table(self) -> None:
        """Take the rows of the full table, which may have been changed while it was lent."""
        with torch.no_grad():
            self.weight.copy_(self.full_VD[self.used_U])


def compact_vocabulary(student: TextModel, used_ids: np.ndarray, *, sparse: bool = False) -> int:
    """Replace the student's token embeddings by those that training uses.

    Args:
        student: it is changed in place.
        used_ids: token ids of the training corpus, in any order, repeated or not.
        sparse: see `CompactEmbedding`.

    Returns:
        Number of rows that are trained.
    """
    used_U = np.union1d(used_ids, [student.tokenizer.pad_token_id])
    embedding = student.transformer.get_input_embeddings()
    student.transformer.set_input_embeddings(CompactEmbedding(embedding, used_U, sparse=sparse))
    return len(used_U)


@contextmanager
def full_vocabulary(student: TextModel) -> Iterator[None]:
    """Give the student an ordinary table within this context, to save it or to load into it.

    What is loaded into the table within the context stays.
    """
    compact = student.transformer.get_input_embeddings()
    if not isinstance(compact, CompactEmbedding):
        yield
        return
    table_VD = compact.lend_table()
    rows, width = table_VD.shape
    plain = nn.Embedding(rows, width, padding_idx=compact.padding_row, _weight=table_VD)
    student.transformer.set_input_embeddings(plain)
    try:
        yield
    finally:
        compact.take_back_table()
        student.transformer.set_input_embeddings(compact)
