"""What a model with a head reads: texts, pairs of texts, or words, as token ids with the places that matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlembed.tokens import TOKENIZER_BATCH, TokenTable, tokenize


@dataclass(frozen=True)
class Padded:
    """A batch of inputs.

    Args:
        ids_BT: token ids, padded.
        mask_BT: 1 for a token, 0 for padding.
        types_BT: 0 for the first text of a pair, 1 for the second; None where the model knows none.
        row_M: of each of the M words of the batch the text; None where words do not matter.
        position_M: the place of its first token.
        word_M: its number among all words of the inputs.
        tokens: tokens without padding.
    """

    ids_BT: Tensor
    mask_BT: Tensor
    types_BT: Tensor | None
    row_M: Tensor | None
    position_M: Tensor | None
    word_M: np.ndarray | None
    tokens: int

    @property
    def arguments(self) -> tuple[Tensor | None, ...]:
        """What a model is called with; an encoder takes ids and mask alone."""
        if self.types_BT is None and self.row_M is None:
            return self.ids_BT, self.mask_BT
        return self.ids_BT, self.mask_BT, self.types_BT, self.row_M, self.position_M


@dataclass(frozen=True)
class Inputs:
    """Token ids of N texts.

    Args:
        tokens: the ids.
        second_N: where the second text of a pair begins; None where there are no pairs, or the model has no types.
        first_W: of each of the W words of all texts the place of its first token, -1 for a word that has none because
            its text was cut; None where words do not matter.
        word_offsets: text i has the words `word_offsets[i]` to `word_offsets[i + 1]`.
        twins: whether the table has 2 N texts: the first ones of N pairs, and then the second ones, to be read apart.
    """

    tokens: TokenTable
    second_N: np.ndarray | None = None
    first_W: np.ndarray | None = None
    word_offsets: np.ndarray | None = None
    twins: bool = False

    def __len__(self) -> int:
        return len(self.tokens) // 2 if self.twins else len(self.tokens)

    @property
    def lengths_N(self) -> np.ndarray:
        """Number of tokens of each text; of texts that are read apart, what the longer one needs, twice."""
        lengths_N = self.tokens.lengths_N
        return 2 * np.maximum(*np.split(lengths_N, 2)) if self.twins else lengths_N

    def units(self, texts_B: np.ndarray) -> np.ndarray:
        """How many answers each of some texts has: 1, or the number of its words that were read."""
        if self.first_W is None or self.word_offsets is None:
            return np.ones(len(texts_B), dtype=np.int64)
        read = np.concatenate([[0], np.cumsum(self.first_W >= 0)])
        counts: np.ndarray = read[self.word_offsets[texts_B + 1]] - read[self.word_offsets[texts_B]]
        return counts

    def padded(self, texts_B: np.ndarray, *, device: torch.device) -> Padded:
        """Put some texts together; of texts that are read apart, all first ones come before all second ones."""
        if self.twins:
            texts_B = np.concatenate([texts_B, texts_B + len(self)])
        ids_BT, mask_BT = self.tokens.padded(texts_B, device=device)
        types_BT = None
        if self.second_N is not None:
            places_T = np.arange(ids_BT.shape[1])
            is_second_BT = (places_T >= self.second_N[texts_B, None]) & (
                places_T < self.tokens.lengths(texts_B)[:, None]
            )
            types_BT = torch.from_numpy(is_second_BT.astype(np.int64)).to(device)
        row_M = position_M = word_M = None
        if self.first_W is not None and self.word_offsets is not None:
            starts_B, ends_B = self.word_offsets[texts_B], self.word_offsets[texts_B + 1]
            word_M = np.concatenate([np.arange(*span) for span in zip(starts_B, ends_B, strict=True)])
            rows = np.repeat(np.arange(len(texts_B)), ends_B - starts_B)
            read = self.first_W[word_M] >= 0
            word_M, rows = word_M[read], rows[read]
            row_M = torch.from_numpy(rows).to(device)
            position_M = torch.from_numpy(self.first_W[word_M].astype(np.int64)).to(device)
        count = int(self.tokens.lengths(texts_B).sum())
        return Padded(ids_BT, mask_BT, types_BT, row_M, position_M, word_M, count)


def text_inputs(
    texts: Sequence[str], *, tokenizer: Any, max_length: int, poll: Callable[[], None] = lambda: None
) -> Inputs:
    """Inputs of single texts; longer ones are cut to `max_length` tokens."""
    return Inputs(tokenize(texts, tokenizer=tokenizer, max_length=max_length, poll=poll))


def pair_inputs(
    firsts: Sequence[str],
    seconds: Sequence[str],
    *,
    tokenizer: Any,
    max_length: int,
    poll: Callable[[], None] = lambda: None,
) -> Inputs:
    """Inputs of pairs of texts; of longer ones the longer text is cut."""
    has_types = "token_type_ids" in tokenizer.model_input_names
    chunks: list[list[int]] = []
    seconds_N: list[int] = []
    for start in range(0, len(firsts), TOKENIZER_BATCH):
        poll()
        part = slice(start, start + TOKENIZER_BATCH)
        encoded = tokenizer(
            list(firsts[part]),
            list(seconds[part]),
            truncation="longest_first",
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=has_types,
        )
        chunks.extend(encoded["input_ids"])
        if has_types:
            types = encoded["token_type_ids"]
            seconds_N.extend(row.index(1) if 1 in row else len(row) for row in types)
    return Inputs(_table(chunks, tokenizer), second_N=np.array(seconds_N, dtype=np.int64) if has_types else None)


def twin_inputs(
    firsts: Sequence[str],
    seconds: Sequence[str],
    *,
    tokenizer: Any,
    max_length: int,
    poll: Callable[[], None] = lambda: None,
) -> Inputs:
    """Inputs of pairs of texts that are read apart; each is cut to `max_length` tokens."""
    tokens = tokenize([*firsts, *seconds], tokenizer=tokenizer, max_length=max_length, poll=poll)
    return Inputs(tokens, twins=True)


def word_inputs(
    texts: Sequence[Sequence[str]], *, tokenizer: Any, max_length: int, poll: Callable[[], None] = lambda: None
) -> Inputs:
    """Inputs of texts that are words already, with the place of the first token of each word."""
    space = " " if _spaces_belong_to_words(tokenizer) else ""
    chunks: list[list[int]] = []
    firsts: list[np.ndarray] = []
    for start in range(0, len(texts), TOKENIZER_BATCH):
        poll()
        part = [
            [*words[:1], *(f"{space}{word}" for word in words[1:])] for words in texts[start : start + TOKENIZER_BATCH]
        ]
        encoded = tokenizer(
            part,
            is_split_into_words=True,
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        chunks.extend(encoded["input_ids"])
        firsts.extend(_first_places(encoded.word_ids(at), count=len(words)) for at, words in enumerate(part))
    lengths = np.array([0, *(len(one) for one in firsts)], dtype=np.int64)
    first_W = np.concatenate([np.zeros(0, dtype=np.int64), *firsts])
    return Inputs(_table(chunks, tokenizer), first_W=first_W, word_offsets=np.cumsum(lengths))


def _spaces_belong_to_words(tokenizer: Any) -> bool:
    """Whether a word alone has other tokens than within a text, since the space before it is part of its first one.

    That is so for byte-level BPE (RoBERTa, ModernBERT), whose models have seen hardly any words without it.
    """
    text = tokenizer("a a")["input_ids"]
    alone, spaced = (tokenizer(words, is_split_into_words=True)["input_ids"] for words in (["a", "a"], ["a", " a"]))
    return bool(alone != text and spaced == text)


def _first_places(word_ids: Sequence[int | None], *, count: int) -> np.ndarray:
    first_W = np.full(count, -1, dtype=np.int64)
    for place in range(len(word_ids) - 1, -1, -1):
        word = word_ids[place]
        if word is not None:
            first_W[word] = place
    return first_W


def _table(chunks: list[list[int]], tokenizer: Any) -> TokenTable:
    lengths = np.array([0, *map(len, chunks)], dtype=np.int64)
    ids = np.fromiter((token for ids in chunks for token in ids), dtype=np.int32, count=int(lengths.sum()))
    return TokenTable(ids=ids, offsets=np.cumsum(lengths), pad_id=int(tokenizer.pad_token_id))
