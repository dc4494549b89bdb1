"""Token ids of many texts, and their padding to a batch."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

# Texts handed to the tokenizer at once: enough for its threads, few enough for a signal to be noticed in time.
TOKENIZER_BATCH = 4096


class Tokens(Protocol):
    """Token ids of N texts, in memory or on disk."""

    def __len__(self) -> int: ...

    def lengths(self, texts_N: np.ndarray) -> np.ndarray:
        """Number of tokens of some texts."""
        ...

    def padded(self, texts_B: np.ndarray, *, device: torch.device) -> tuple[Tensor, Tensor]:
        """The ids of some texts, padded to the longest; see `pad`."""
        ...


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

    def lengths(self, texts_N: np.ndarray) -> np.ndarray:
        """Number of tokens of some texts."""
        lengths_N: np.ndarray = self.offsets[texts_N + 1] - self.offsets[texts_N]
        return lengths_N

    def padded(self, texts_B: np.ndarray, *, device: torch.device) -> tuple[Tensor, Tensor]:
        """The ids of some texts, padded to the longest; see `pad`."""
        # Of these texts alone: the whole table has millions, and this is done at each step.
        return pad(self.ids, self.offsets[texts_B], self.lengths(texts_B), pad_id=self.pad_id, device=device)


def pad(
    ids: np.ndarray, starts_B: np.ndarray, lengths_B: np.ndarray, *, pad_id: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Put texts together that lie somewhere in a flat array.

    Args:
        ids: the array, int32.
        starts_B: for each text the place of its first token.
        lengths_B: for each text the number of its tokens.
        pad_id: what stands behind shorter texts.
        device: where the tensors go.

    Returns:
        `ids_BT` int64 and `mask_BT` int64 (1: a token, 0: padding).
    """
    positions_T = np.arange(lengths_B.max())
    mask_BT = positions_T < lengths_B[:, None]
    where_BT = np.minimum(starts_B[:, None] + positions_T, len(ids) - 1)
    ids_BT = np.where(mask_BT, ids[where_BT], pad_id).astype(np.int64)
    padded, mask = torch.from_numpy(ids_BT), torch.from_numpy(mask_BT.astype(np.int64))
    if device.type == "cuda":
        padded, mask = padded.pin_memory(), mask.pin_memory()
    return padded.to(device, non_blocking=True), mask.to(device, non_blocking=True)


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
    starts = range(0, len(texts), TOKENIZER_BATCH)
    found = list(
        token_chunks(
            (list(texts[start : start + TOKENIZER_BATCH]) for start in starts),
            tokenizer=tokenizer,
            max_length=max_length,
            add_special_tokens=add_special_tokens,
            poll=poll,
        )
    )
    ids = np.concatenate([np.zeros(0, dtype=np.int32), *(ids for ids, _ in found)])
    lengths = np.concatenate([np.zeros(1, dtype=np.int64), *(lengths for _, lengths in found)])
    return TokenTable(ids=ids, offsets=np.cumsum(lengths), pad_id=int(tokenizer.pad_token_id))


def token_chunks(
    chunks: Iterable[list[str]],
    *,
    tokenizer: Any,
    max_length: int,
    add_special_tokens: bool,
    poll: Callable[[], None],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Token ids of chunks of texts; while one is being used, the next one is being tokenized.

    Args:
        chunks: texts.
        tokenizer: a tokenizer of transformers; one in Rust uses all cores.
        max_length: longer texts are cut to this number of tokens.
        add_special_tokens: with what the tokenizer puts before and after a text.
        poll: called before each chunk; raises to end early.

    Yields:
        All ids of a chunk one after another, int32, and the number of each text's, int64.
    """
    encode = _encoder(tokenizer, max_length=max_length, add_special_tokens=add_special_tokens)

    def flat(encoded: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        ids = [one if isinstance(one, list) else one.ids for one in encoded]
        if add_special_tokens:
            # A tokenizer that adds none has no token for an empty text, and a model no vector for no token.
            ids = [one or [tokenizer.pad_token_id] for one in ids]
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        return np.fromiter(itertools.chain.from_iterable(ids), dtype=np.int32, count=int(lengths.sum())), lengths

    with ThreadPoolExecutor(1) as worker:
        waiting: Future[list[Any]] | None = None
        for texts in chunks:
            poll()
            following = worker.submit(encode, texts)
            if waiting is not None:
                yield flat(waiting.result())
            waiting = following
        if waiting is not None:
            yield flat(waiting.result())


def _encoder(tokenizer: Any, *, max_length: int, add_special_tokens: bool) -> Callable[[list[str]], list[Any]]:
    """A function from texts to lists of ids, or to objects of the part in Rust that have them."""
    options = {"add_special_tokens": add_special_tokens, "truncation": True, "max_length": max_length}
    options |= {"return_attention_mask": False, "return_token_type_ids": False}
    if not _is_plainly_fast(tokenizer):
        return lambda texts: tokenizer(texts, **options)["input_ids"]
    # It tells the part in Rust where to cut.
    tokenizer([""], **options)
    encode_fast: Callable[..., list[Any]] = tokenizer.backend_tokenizer.encode_batch_fast
    return functools.partial(encode_fast, add_special_tokens=add_special_tokens)


def _is_plainly_fast(tokenizer: Any) -> bool:
    """Whether it does nothing to texts but hand them to Rust."""
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast
    own = (getattr(type(tokenizer), name, None) is not getattr(fast, name) for name in ("__call__", "_encode_plus"))
    return isinstance(tokenizer, fast) and not any(own)


def batches_by_length(lengths_N: np.ndarray, *, batch_tokens: int, batch_texts: int | None = None) -> list[np.ndarray]:
    """Cut texts, sorted by length, into batches.

    Args:
        lengths_N: number of tokens of each text.
        batch_tokens: tokens of a batch with padding, at most; a single text may be longer.
        batch_texts: texts of a batch, at most; None: as many as have room.
    """
    order = np.argsort(-lengths_N, kind="stable")
    batches: list[np.ndarray] = []
    start = 0
    while start < len(order):
        count = max(1, batch_tokens // max(1, int(lengths_N[order[start]])))
        count = count if batch_texts is None else min(count, batch_texts)
        batches.append(order[start : start + count])
        start += count
    return batches
