"""Token ids of many texts in one flat array, and their padding to a batch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Texts handed to the tokenizer at once: enough for its threads, few enough for a signal to be noticed in time.
TOKENIZER_BATCH = 4096


@dataclass(frozen=True)
class TokenTable:
    """Token ids of N texts, special tokens included, without padding.

    Args:
        ids: all ids one after another, int32.
        offsets: text i has `ids[offsets[i]:offsets[i + 1]]`; N + 1 entries, int64.
        pad_id: the tokenizer's padding id; it is not 0 everywhere (XLM-R: 1).
    """

    ids: np.ndarray
    offsets: np.ndarray
    pad_id: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths_N(self) -> np.ndarray:
        """Number of tokens of each text."""
        return np.diff(self.offsets)

    def padded(self, texts_B: np.ndarray, *, device: torch.device) -> tuple[Tensor, Tensor]:
        """The ids of some texts, padded to the longest.

        Args:
            texts_B: indices of texts.
            device: where the tensors go.

        Returns:
            `ids_BT` int64 and `mask_BT` int64 (1: a token, 0: padding).
        """
        # Of these texts alone: the whole table has millions, and this is done at each step.
        lengths_B = self.offsets[texts_B + 1] - self.offsets[texts_B]
        positions_T = np.arange(lengths_B.max())
        mask_BT = positions_T < lengths_B[:, None]
        where_BT = np.minimum(self.offsets[texts_B][:, None] + positions_T, len(self.ids) - 1)
        ids_BT = np.where(mask_BT, self.ids[where_BT], self.pad_id).astype(np.int64)
        ids, mask = torch.from_numpy(ids_BT), torch.from_numpy(mask_BT.astype(np.int64))
        if device.type == "cuda":
            ids, mask = ids.pin_memory(), mask.pin_memory()
        return ids.to(device, non_blocking=True), mask.to(device, non_blocking=True)


def tokenize(
    texts: Sequence[str],
    *,
    tokenizer: Any,
    max_length: int,
    add_special_tokens: bool = True,
    poll: Callable[[], None] = lambda: None,
) -> TokenTable:
    """Token ids of all texts.

    Args:
        texts: N texts.
        tokenizer: a tokenizer of transformers.
        max_length: longer texts are cut to this number of tokens.
        add_special_tokens: with what the tokenizer puts before and after a text.
        poll: called now and then; raises to end early.
    """
    chunks: list[np.ndarray] = []
    lengths: list[int] = []
    for start in range(0, len(texts), TOKENIZER_BATCH):
        poll()
        encoded = tokenizer(
            list(texts[start : start + TOKENIZER_BATCH]),
            truncation=True,
            add_special_tokens=add_special_tokens,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        if add_special_tokens:
            # A tokenizer that adds none has no token for an empty text, and a model no vector for no token.
            encoded = [ids or [tokenizer.pad_token_id] for ids in encoded]
        lengths += [len(ids) for ids in encoded]
        chunks.append(np.fromiter(itertools.chain.from_iterable(encoded), dtype=np.int32, count=sum(map(len, encoded))))
    ids = np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.int32)
    offsets = np.concatenate([[0], np.cumsum(np.array(lengths, dtype=np.int64))]).astype(np.int64)
    return TokenTable(ids=ids, offsets=offsets, pad_id=int(tokenizer.pad_token_id))


def batches_by_length(lengths_N: np.ndarray, *, batch_tokens: int) -> list[np.ndarray]:
    """Cut texts, sorted by length, into batches of at most `batch_tokens` tokens with padding (one text at least)."""
    order = np.argsort(-lengths_N, kind="stable")
    batches: list[np.ndarray] = []
    start = 0
    while start < len(order):
        count = max(1, batch_tokens // max(1, int(lengths_N[order[start]])))
        batches.append(order[start : start + count])
        start += count
    return batches
