"""A student without any multilingual model: the teacher's body, and a vocabulary for the new languages."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from mlembed.models.alignment import align, make_bitext
from mlembed.models.encoder import Encoder
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
) -> None:
    """Give a copy of the teacher a vocabulary for new languages.

    A new token starts as the average of the teacher's embeddings of the tokens that it is aligned with in the parallel
    text, weighted with how often; a token that is never aligned starts within the distribution of the teacher's.

    Args:
        student: a copy of the teacher; its tokenizer and its embeddings are replaced.
        texts: sources and translations; vocabulary and alignment are learnt from them.
        pairs: `[P, 2]` numbers of a translation and of its source, within `texts`.
        vocabulary: `extend` keeps the teacher's tokens and their embeddings, `replace` does not.
        size: number of (new) tokens, at most.
        min_frequency: pieces that are seen less often are not made.
        seed: of the order of pairs, and of tokens that are never aligned.

    Source: related are WECHSEL (https://arxiv.org/abs/2112.06598), FOCUS (https://arxiv.org/abs/2305.14481) and
    Trans-Tokenization (https://arxiv.org/abs/2408.04303).
    """
    teacher = student.tokenizer
    options: dict[str, Any] = {"teacher": teacher, "size": size, "min_frequency": min_frequency}
    if vocabulary == "extend":
        sources = [texts[at] for at in np.unique(pairs[:, 1])]
        tokenizer = extending_tokenizer([texts[at] for at in np.unique(pairs[:, 0])], sources, **options)
    else:
        tokenizer = replacing_tokenizer(texts, **options)
    table_WD = student.transformer.get_input_embeddings().weight.detach().cpu().numpy()
    probabilities = _align(texts, pairs=pairs, student=tokenizer, teacher=teacher, seed=seed)
    rows_VD, aligned = _average(probabilities, table_WD, seed=seed)
    kept = list(teacher.get_vocab()) if vocabulary == "extend" else special_tokens(teacher)
    rows_VD[tokenizer.convert_tokens_to_ids(kept)] = table_WD[teacher.convert_tokens_to_ids(kept)]
    log.info("transplant: %d tokens, %d of them new, %d aligned", len(rows_VD), len(rows_VD) - len(kept), aligned)
    _set_vocabulary(student, tokenizer, rows_VD)


def _align(texts: list[str], *, pairs: np.ndarray, student: Any, teacher: Any, seed: int) -> sp.csr_matrix:
    student_table, teacher_table = _plain_tokens(texts, student), _plain_tokens(texts, teacher)
    # A source in the student's tokens is aligned with itself in the teacher's, as often as it has translations.
    same = np.repeat(pairs[:, 1:], 2, axis=1)
    pairs = np.concatenate([pairs, same])
    pairs = pairs[np.random.Generator(np.random.PCG64(seed)).permutation(len(pairs))]
    bitext = make_bitext(
        student_table,
        teacher_table,
        pairs=pairs,
        student_vocabulary=len(student),
        teacher_vocabulary=len(teacher),
    )
    return align(bitext)


def _plain_tokens(texts: list[str], tokenizer: Any) -> TokenTable:
    """Token ids without special tokens."""
    return tokenize(texts, tokenizer=tokenizer, max_length=10_000, add_special_tokens=False)


def _average(probabilities: sp.csr_matrix, table_WD: np.ndarray, *, seed: int) -> tuple[np.ndarray, int]:
    """Averages of the teacher's embeddings, weighted by alignment, `[V, D]`, and how many tokens have one."""
    rows_VD = np.asarray(probabilities @ table_WD[: probabilities.shape[1]])
    never_V = np.asarray(probabilities.sum(axis=1)).ravel() == 0
    generator = np.random.Generator(np.random.PCG64(seed))
    # Half of the spread: averages lie closer to the middle than single tokens do.
    noise = 0.5 * generator.standard_normal((int(never_V.sum()), table_WD.shape[1]))
    rows_VD[never_V] = table_WD.mean(axis=0) + noise * table_WD.std(axis=0)
    return rows_VD.astype(np.float32), int((~never_V).sum())


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
