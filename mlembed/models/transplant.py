"""A student without any multilingual model: the teacher's body, and a vocabulary for the new languages."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from mlembed.models.alignment import align, make_bitext
from mlembed.models.encoder import Encoder
from mlembed.models.extension import table_size
from mlembed.models.vocabulary import extending_tokenizer, replacing_tokenizer, special_tokens
from mlembed.tokens import TokenTable, tokenize

log = logging.getLogger("mlembed")


def transplant(
    student: Encoder,
    texts: list[str],
    *,
    pairs: np.ndarray,
    vocabulary: str,
    size: int,
    min_frequency: int,
    seed: int,
    advance: Callable[[int], None] = lambda count: None,
) -> None:
    """Give a copy of the teacher a vocabulary for new languages.

    A new token starts as the average of the teacher's embeddings of the tokens that it is aligned with in the parallel
    text, weighted with how often; a token that is never aligned starts within the distribution of the teacher's.

    Args:
        student: a copy of the teacher; its tokenizer and its embeddings are replaced.
        texts: sources and translations; vocabulary and alignment are learnt from them.
        pairs: `[P, 2]` numbers of a translation and of its source, within `texts`.
        vocabulary: `extend` keeps the teacher's tokens and their embeddings; `blend` keeps the tokens, and those which
            the new languages use too start between both meanings; `replace` keeps neither.
        size: number of (new) tokens, at most.
        min_frequency: pieces that are seen less often are not made.
        seed: of the order of pairs, and of tokens that are never aligned.
        advance: called after each of the `ITERATIONS` of the alignment.

    Raises:
        ConfigError: the teacher's tokenizer is of a kind that cannot be extended.

    Source: related are WECHSEL (https://arxiv.org/abs/2112.06598), FOCUS (https://arxiv.org/abs/2305.14481) and
    Trans-Tokenization (https://arxiv.org/abs/2408.04303).
    """
    teacher = student.tokenizer
    options: dict[str, Any] = {"teacher": teacher, "size": size, "min_frequency": min_frequency}
    targets, sources = ([texts[at] for at in np.unique(pairs[:, side])] for side in (0, 1))
    replaces = vocabulary == "replace"
    tokenizer = replacing_tokenizer(texts, **options) if replaces else extending_tokenizer(targets, sources, **options)
    table_WD = student.transformer.get_input_embeddings().weight.detach().cpu().numpy()
    probabilities = align_tokens(texts, pairs=pairs, student=tokenizer, teacher=teacher, seed=seed, advance=advance)
    rows_VD = average_rows(probabilities, table_WD, seed=seed)
    if replaces:
        kept = special_tokens(teacher)
        rows_VD[tokenizer.convert_tokens_to_ids(kept)] = table_WD[teacher.convert_tokens_to_ids(kept)]
    else:
        weights_V = np.ones(table_size(teacher.get_vocab()))
        if vocabulary == "blend":
            weights_V = source_weights(texts, pairs=pairs, tokenizer=tokenizer, count=len(weights_V))
        _keep_rows(rows_VD, table_WD, weights_V=weights_V, probabilities=probabilities)
    _set_vocabulary(student, tokenizer, rows_VD)


def _keep_rows(
    rows_VD: np.ndarray, table_WD: np.ndarray, *, weights_V: np.ndarray, probabilities: sp.csr_matrix
) -> None:
    """Lay the teacher's embeddings over the new ones, each with its weight; ids of kept tokens are unchanged."""
    kept = len(weights_V)
    # Nothing was learnt of tokens that are never aligned, nor of ids that no token has.
    never_V = np.asarray(probabilities.sum(axis=1)).ravel()[:kept] == 0
    weights_V1 = np.where(never_V, 1, weights_V)[:, None].astype(np.float32)
    rows_VD[:kept] = weights_V1 * table_WD[:kept] + (1 - weights_V1) * rows_VD[:kept]


def source_weights(texts: list[str], *, pairs: np.ndarray, tokenizer: Any, count: int) -> np.ndarray:
    """How far a token belongs to the source language, 0 to 1.

    `w = sqrt(p / (p + q))` for its share p of the tokens of the sources and q of those of the translations. The sources
    are counted with one more of each token, so that a rare name is not taken for a foreign word. Special tokens
    have the weight 1.

    Args:
        texts: sources and translations.
        pairs: `[P, 2]` numbers of a translation and of its source, within `texts`.
        tokenizer: of both.
        count: V, how many tokens to weigh, from id 0.

    Returns:
        `[V]`.
    """
    targets, sources = ([texts[at] for at in np.unique(pairs[:, side])] for side in (0, 1))
    target_ids, source_ids = (_plain_tokens(side, tokenizer).ids for side in (targets, sources))
    q_V = np.bincount(target_ids, minlength=count)[:count] / max(1, len(target_ids))
    p_V = (np.bincount(source_ids, minlength=count)[:count] + 1) / max(1, len(source_ids))
    share_V = p_V / (p_V + q_V)
    weights_V: np.ndarray = np.sqrt(share_V)
    weights_V[tokenizer.convert_tokens_to_ids(special_tokens(tokenizer))] = 1
    return weights_V


def align_tokens(
    texts: list[str],
    *,
    pairs: np.ndarray,
    student: Any,
    teacher: Any,
    seed: int,
    advance: Callable[[int], None],
) -> sp.csr_matrix:
    """The probability of each teacher token, given the student token, `[V, W]`; see `align`.

    Args:
        texts: sources and translations.
        pairs: `[P, 2]` numbers of a translation and of its source, within `texts`.
        student: tokenizer of the translations, and of the sources too: they are aligned with themselves.
        teacher: tokenizer of the sources.
        seed: of the order of pairs, where there is no room for all.
        advance: called after each of the `ITERATIONS`.
    """
    student_table, teacher_table = _plain_tokens(texts, student), _plain_tokens(texts, teacher)
    # A source in the student's tokens is aligned with itself in the teacher's, as often as it has translations.
    same = np.repeat(pairs[:, 1:], 2, axis=1)
    pairs = np.concatenate([pairs, same])
    pairs = pairs[np.random.Generator(np.random.PCG64(seed)).permutation(len(pairs))]
    bitext = make_bitext(
        student_table,
        teacher_table,
        pairs=pairs,
        student_vocabulary=table_size(student.get_vocab()),
        teacher_vocabulary=table_size(teacher.get_vocab()),
    )
    return align(bitext, advance=advance)


def _plain_tokens(texts: list[str], tokenizer: Any) -> TokenTable:
    """Token ids without special tokens."""
    return tokenize(texts, tokenizer=tokenizer, max_length=10_000, add_special_tokens=False)


def average_rows(probabilities: sp.csr_matrix, table_WD: np.ndarray, *, seed: int) -> np.ndarray:
    """Averages of the teacher's embeddings, weighted by alignment, `[V, D]`; noise where nothing is aligned."""
    rows_VD = np.asarray(probabilities @ table_WD[: probabilities.shape[1]])
    never_V = np.asarray(probabilities.sum(axis=1)).ravel() == 0
    generator = np.random.Generator(np.random.PCG64(seed))
    # Half of the spread: averages lie closer to the middle than single tokens do.
    noise = 0.5 * generator.standard_normal((int(never_V.sum()), table_WD.shape[1]))
    rows_VD[never_V] = table_WD.mean(axis=0) + noise * table_WD.std(axis=0)
    log.info("vocabulary: %d tokens, %d of them aligned with the teacher's", len(rows_VD), int((~never_V).sum()))
    averages_VD: np.ndarray = rows_VD.astype(np.float32)
    return averages_VD


def _set_vocabulary(student: Encoder, tokenizer: Any, rows_VD: np.ndarray) -> None:
    pad_id = tokenizer.pad_token_id
    rows, width = rows_VD.shape
    embedding = nn.Embedding(rows, width, padding_idx=pad_id, _weight=torch.from_numpy(rows_VD))
    student.transformer.set_input_embeddings(embedding)
    config = student.transformer.config
    config.vocab_size = len(rows_VD)
    for role in ("pad_token_id", "bos_token_id", "eos_token_id"):
        if getattr(config, role, None) is not None:
            setattr(config, role, getattr(tokenizer, role))
    student.tokenizer = tokenizer
