"""A static student: a vector for each token of a new vocabulary, from what the teacher says to single tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mlembed.models.encoder import Encoder
from mlembed.models.static import StaticTransformer, make_table
from mlembed.models.text_model import NO_LIMIT
from mlembed.models.transplant import align_tokens, average_rows
from mlembed.models.vocabulary import replacing_tokenizer
from mlembed.tokens import TokenTable, tokenize

log = logging.getLogger("mlembed")

# Tokens with this share of all tokens start at half their length: frequent ones say little.
HALF_LENGTH_SHARE = 1e-3

EncodeTokens = Callable[..., np.ndarray]


def static_student(
    teacher: Encoder,
    texts: list[str],
    *,
    pairs: np.ndarray,
    size: int,
    min_frequency: int,
    encode_tokens: EncodeTokens,
    advance: Callable[[int], None],
    seed: int,
) -> Encoder:
    """Make a student of token vectors in the teacher's space.

    A token starts as the average of the teacher's sentence vectors of the single teacher tokens that it is aligned with
    in the parallel text, scaled by `a / (a + p)` for its share p of all tokens.

    Args:
        teacher: the teacher.
        texts: sources and translations; vocabulary and alignment are learnt from them.
        pairs: `[P, 2]` numbers of a translation and of its source, within `texts`.
        size: number of tokens, at most.
        min_frequency: pieces that are seen less often are not made.
        encode_tokens: an encoder and a `TokenTable` to vectors `[N, D]`.
        advance: called after each iteration of the alignment.
        seed: of the order of pairs, and of tokens that are never aligned.

    Source: Minishlab (2024), model2vec, for vectors of single tokens; Arora et al. (2017), A simple but tough-to-beat
    baseline for sentence embeddings, for the scale; alignment as in `transplant`.
    """
    tokenizer = replacing_tokenizer(texts, teacher=teacher.tokenizer, size=size, min_frequency=min_frequency)
    probabilities = align_tokens(
        texts, pairs=pairs, student=tokenizer, teacher=teacher.tokenizer, seed=seed, advance=advance
    )
    single_WD = encode_tokens(teacher, single_tokens(teacher.tokenizer, probabilities.shape[1]), what="tokens")
    rows_VD = average_rows(probabilities, single_WD, seed=seed)
    ids = tokenize(texts, tokenizer=tokenizer, max_length=NO_LIMIT, add_special_tokens=False).ids
    share_V = np.bincount(ids, minlength=len(rows_VD)) / len(ids)
    rows_VD *= (HALF_LENGTH_SHARE / (HALF_LENGTH_SHARE + share_V)).astype(np.float32)[:, None]
    return Encoder(
        StaticTransformer(make_table(torch.from_numpy(rows_VD))),
        tokenizer=tokenizer,
        pooling="mean",
        dense=[],
        normalize=teacher.normalize,
        max_length=NO_LIMIT,
    )


def single_tokens(tokenizer: Any, count: int) -> TokenTable:
    """A text of one token, with what the tokenizer puts around it, for each of the ids."""
    example = tokenizer("a", return_special_tokens_mask=True)
    is_added = np.array(example["special_tokens_mask"], dtype=bool)
    around = np.array(example["input_ids"], dtype=np.int32)
    begin, end = is_added.argmin(), len(is_added) - is_added[::-1].argmin()
    ids_WT = np.concatenate(
        [
            np.tile(around[:begin], (count, 1)),
            np.arange(count, dtype=np.int32)[:, None],
            np.tile(around[end:], (count, 1)),
        ],
        axis=1,
    )
    offsets = np.arange(count + 1, dtype=np.int64) * ids_WT.shape[1]
    return TokenTable(ids=ids_WT.ravel(), offsets=offsets, pad_id=int(tokenizer.pad_token_id))
