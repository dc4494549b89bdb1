"""An encoder without its layers: what it says to each token alone becomes a table of vectors, which are averaged."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch

from mlembed.models.encoder import Encoder
from mlembed.models.static import StaticTransformer, make_table
from mlembed.models.static_start import HALF_LENGTH_SHARE, EncodeTokens, single_tokens
from mlembed.models.text_model import NO_LIMIT
from mlembed.tokens import tokenize

CHUNK_TEXTS = 8192


def distil_static(encoder: Encoder, *, width: int, share_V: np.ndarray, encode_tokens: EncodeTokens) -> Encoder:
    """Make a static encoder of one with layers, without any training.

    A row is the encoder's sentence vector of a text of that one token. The rows are centred and turned to the axes in
    which they differ most (PCA, each token counted by its share), and scaled by `a / (a + p)` for a token's share p of
    all tokens: frequent ones say little. The vectors lie in a space of their own, not in the encoder's.

    Args:
        encoder: with layers; it stays as it is.
        width: dimensions that are kept, at most those of the encoder.
        share_V: of each token id its share of all tokens, from `shares_of` or `guessed_shares`.
        encode_tokens: an encoder and a `TokenTable` to vectors `[N, D]`.

    Source: Minishlab (2024), model2vec; Arora et al. (2017), A simple but tough-to-beat baseline for sentence
    embeddings, for the scale.
    """
    count = encoder.transformer.get_input_embeddings().num_embeddings
    rows_VD = encode_tokens(encoder, single_tokens(encoder.tokenizer, count)).astype(np.float64)
    rows_VD = _principal(rows_VD, share_V, width=width)
    rows_VD *= (HALF_LENGTH_SHARE / (HALF_LENGTH_SHARE + share_V))[:, None]
    rows_VD[encoder.tokenizer.pad_token_id] = 0.0
    return Encoder(
        StaticTransformer(make_table(torch.from_numpy(rows_VD))),
        tokenizer=encoder.tokenizer,
        pooling="mean",
        dense=[],
        normalize=True,
        max_length=NO_LIMIT,
    )


def shares_of(texts: Iterable[str], encoder: Encoder) -> np.ndarray:
    """The share of each token id in texts; a token that is not seen counts as half of one."""
    count_V = np.full(encoder.transformer.get_input_embeddings().num_embeddings, 0.5)
    waiting = iter(texts)
    while chunk := list(islice(waiting, CHUNK_TEXTS)):
        table = tokenize(chunk, tokenizer=encoder.tokenizer, max_length=NO_LIMIT, add_special_tokens=False)
        count_V += np.bincount(table.ids, minlength=len(count_V))
    return np.asarray(count_V / count_V.sum())


def guessed_shares(encoder: Encoder) -> np.ndarray:
    """The share of each token id where there are no texts.

    A Unigram tokenizer knows it; others number their tokens by frequency, nearly, of which Zipf's law makes shares.
    """
    rows = encoder.transformer.get_input_embeddings().num_embeddings
    model = json.loads(encoder.tokenizer.backend_tokenizer.to_str())["model"]
    if model["type"] == "Unigram":
        share_V = np.full(rows, 0.0)
        scores = np.array([score for _, score in model["vocab"]])
        # Special tokens have the score 0, which would be a share of 1.
        share_V[: len(scores)] = np.where(scores < 0, np.exp(scores), 0.0)
    else:
        share_V = 1.0 / np.arange(1, rows + 1)
    return np.asarray(share_V / share_V.sum())


def _principal(rows_VD: np.ndarray, share_V: np.ndarray, *, width: int) -> np.ndarray:
    """Centred rows along their first axes, `[V, width]`."""
    centred_VD = rows_VD - share_V @ rows_VD
    _, axes_DD = np.linalg.eigh((centred_VD * share_V[:, None]).T @ centred_VD)
    # They come with the smallest variance first.
    return np.asarray(centred_VD @ axes_DD[:, ::-1][:, :width])
