"""The teacher's Unigram tokenizer with further pieces and their scores."""

from __future__ import annotations

import json
import math
from collections.abc import Set
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from mlembed.models.extension import WORD_START, Extension, assembled, layout_vocabulary, table_size
from mlembed.tokens import TOKENIZER_BATCH


def unigram_extension(
    targets: list[str], *, layout: dict[str, Any], folds: bool, size: int, min_frequency: int
) -> Extension:
    """Learn pieces by BPE, and score them with the logarithm of their share of the text.

    The trainer for Unigram is not used: its scores are fitted to a vocabulary without the teacher's pieces. No score
    is lower than the teacher's lowest, from which that of an unknown character is counted.

    Args:
        targets: texts in the new languages.
        layout: the teacher's tokenizer.json, see `open_layout`.
        folds: read accents that no piece has as bare letters.
        size: number of new pieces, at most, but for single characters, which are all made.
        min_frequency: pieces that are seen less often are not made.

    Source: Kudo (2018), https://arxiv.org/abs/1804.10959, for the tokenizer that the scores are for.
    """
    own = layout_vocabulary(layout)
    vocabulary = _filled(layout["model"]["vocab"], own)
    lowest = min(score for _, score in vocabulary)
    learnt = _learn(targets, layout=layout, size=size, min_frequency=min_frequency)
    count_K = _counts(targets, learnt)
    new: list[list[Any]] = []
    for piece, at in sorted(learnt.get_vocab().items(), key=lambda item: item[1]):
        if piece not in own and (len(piece) == 1 or count_K[at] >= min_frequency):
            score = math.log(max(1, count_K[at]) / max(1, count_K.sum()))
            new.append([piece, max(lowest, score)])

    def extension(dropped: Set[str]) -> Tokenizer:
        # Single characters stay, whatever text they are in: without them it is unknown.
        kept = [scored for scored in new if len(scored[0]) == 1 or scored[0] not in dropped]
        return assembled(layout | {"model": layout["model"] | {"vocab": vocabulary + kept}}, folds=folds)

    return extension


def _filled(vocabulary: list[list[Any]], own: dict[str, int]) -> list[list[Any]]:
    """The pieces up to the highest id: the place in the list is the id, and added tokens may have higher ones."""
    token_of = {at: token for token, at in own.items()}
    lowest = min(score for _, score in vocabulary)
    places = range(len(vocabulary), table_size(own))
    # No word has a space in it, so that a place without a token is never found.
    return vocabulary + [[token_of.get(at, f"no token {at}"), lowest] for at in places]


def _learn(targets: list[str], *, layout: dict[str, Any], size: int, min_frequency: int) -> Tokenizer:
    """A BPE that cuts words as the teacher does; it is the same at each run, which the Unigram trainer's is not."""
    form = Tokenizer.from_str(json.dumps(layout))
    bpe = Tokenizer(models.BPE())
    if form.normalizer is not None:
        bpe.normalizer = form.normalizer
    words = [] if form.pre_tokenizer is None else [form.pre_tokenizer]
    parts = [pre_tokenizers.Split(WORD_START, behavior="merged_with_next"), pre_tokenizers.Punctuation()]
    bpe.pre_tokenizer = pre_tokenizers.Sequence([*words, *parts])
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=min_frequency, show_progress=False)
    bpe.train_from_iterator(targets, trainer)
    return bpe


def _counts(targets: list[str], tokenizer: Tokenizer) -> np.ndarray:
    """How often each piece is in the texts, `[K]`."""
    count_K = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for start in range(0, len(targets), TOKENIZER_BATCH):
        encoded = tokenizer.encode_batch_fast(targets[start : start + TOKENIZER_BATCH])
        count_K += np.bincount([piece for text in encoded for piece in text.ids], minlength=len(count_K))
    return count_K
