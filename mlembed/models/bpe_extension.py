"""The teacher's BPE tokenizer with further merges, which come after its own."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Set
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from mlembed.models.extension import WORD_START, Extension, assembled, layout_vocabulary, spelled, table_size
from mlembed.tokens import TOKENIZER_BATCH

# A token is one character for the trainer, from here on: above the planes that have spaces and surrogates.
FIRST_CHARACTER = 0x10000


def bpe_extension(
    targets: list[str], *, layout: dict[str, Any], folds: bool, size: int, min_frequency: int
) -> Extension:
    """Learn merges of the teacher's tokens, and single characters that it lacks.

    The teacher's merges rank first, so that they are all made before a new one is; text without a new pair is cut as
    before.

    Args:
        targets: texts in the new languages.
        layout: the teacher's tokenizer.json, see `open_layout`.
        folds: read accents that no piece has as bare letters.
        size: number of new pieces, at most, but for single characters, which are all made.
        min_frequency: pairs that are seen less often are not merged.

    Source: Sennrich et al. (2016), https://arxiv.org/abs/1508.07909, continued from the teacher's merges.
    """
    own = layout_vocabulary(layout)
    characters = _new_characters(targets, layout=layout, own=own)
    start = _extended(layout, own=own, characters=characters, merges=[])
    room = max(0, size - len(characters))
    merges = _learn_merges(targets, layout=start, size=room, min_frequency=min_frequency)

    def extension(dropped: Set[str]) -> Tokenizer:
        kept = _without(merges, dropped, known=layout_vocabulary(start), layout=layout)
        return assembled(_extended(layout, own=own, characters=characters, merges=kept), folds=folds)

    return extension


def _new_characters(targets: list[str], *, layout: dict[str, Any], own: dict[str, int]) -> list[str]:
    """The characters of the texts that no piece stands for, as pieces at all places of a word."""
    form = Tokenizer.from_str(json.dumps(layout))
    alphabet = Tokenizer(models.BPE())
    if form.normalizer is not None:
        alphabet.normalizer = form.normalizer
    if form.pre_tokenizer is not None:
        alphabet.pre_tokenizer = form.pre_tokenizer
    # Without any merge, the vocabulary is the characters.
    alphabet.train_from_iterator(targets, trainers.BpeTrainer(vocab_size=0, show_progress=False))
    prefixes = dict.fromkeys(("", layout["model"]["continuing_subword_prefix"] or ""))
    suffixes = dict.fromkeys(("", layout["model"]["end_of_word_suffix"] or ""))
    characters = sorted(alphabet.get_vocab())
    pieces = (f"{before}{character}{after}" for character in characters for before in prefixes for after in suffixes)
    return [piece for piece in pieces if piece not in own]


def _extended(
    layout: dict[str, Any], *, own: dict[str, int], characters: list[str], merges: list[tuple[str, str]]
) -> dict[str, Any]:
    """A tokenizer.json with further characters and merges, whose ids follow the highest of the teacher's."""
    model = layout["model"]
    pieces = dict.fromkeys([*characters, *(_product(pair, model=model) for pair in merges)])
    new = {piece: at for at, piece in enumerate(pieces, start=table_size(own))}
    return layout | {"model": model | {"vocab": model["vocab"] | new, "merges": [*model["merges"], *map(list, merges)]}}


def _product(pair: tuple[str, str], *, model: dict[str, Any]) -> str:
    left, right = pair
    return left + right.removeprefix(model["continuing_subword_prefix"] or "")


def _learn_merges(
    targets: list[str], *, layout: dict[str, Any], size: int, min_frequency: int
) -> list[tuple[str, str]]:
    """Merges of tokens, most frequent ones first; none makes a piece that there is already.

    The trainer merges characters, so each token becomes one. Without a prefix for continued words it gives the same
    merges at each run, and a run that is resumed must find its vocabulary again.
    """
    tokenizer = Tokenizer.from_str(json.dumps(layout))
    known = layout_vocabulary(layout)
    token_of = {chr(FIRST_CHARACTER + at): piece for piece, at in known.items()}
    words = _words_of_characters(targets, tokenizer=tokenizer, known=known)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    letters = len(set().union(*words) - {" "})
    bpe.train_from_iterator(
        words, trainers.BpeTrainer(vocab_size=letters + size, min_frequency=min_frequency, show_progress=False)
    )
    pieces = dict(token_of)
    merges: list[tuple[str, str]] = []
    for left, right in json.loads(bpe.to_str())["model"]["merges"]:
        if left in pieces and right in pieces:
            pair = pieces[left], pieces[right]
            piece = _product(pair, model=layout["model"])
            # The teacher makes this piece in other ways; where it does not, it is not to be made now.
            if piece not in known:
                pieces[left + right] = piece
                merges.append(pair)
    return list(dict.fromkeys(merges))


def _words_of_characters(targets: list[str], *, tokenizer: Tokenizer, known: dict[str, int]) -> list[str]:
    """The texts with one character for each token, and spaces between words and around punctuation."""
    is_start_V, stands_alone_V = np.zeros((2, table_size(known)), dtype=bool)
    for piece, at in known.items():
        text = spelled(piece, tokenizer=tokenizer)
        is_start_V[at] = piece.startswith(WORD_START)
        stands_alone_V[at] = text != "" and all(unicodedata.category(character)[0] == "P" for character in text)
    words: list[str] = []
    for start in range(0, len(targets), TOKENIZER_BATCH):
        encoded = tokenizer.encode_batch(targets[start : start + TOKENIZER_BATCH], add_special_tokens=False)
        ids_N = np.array([token for text in encoded for token in text.ids], dtype=np.int64)
        words_N = np.array([word for text in encoded for word in text.word_ids], dtype=np.int64)
        text_N = np.repeat(np.arange(len(encoded)), [len(text) for text in encoded])
        cut_N = is_start_V[ids_N] | stands_alone_V[ids_N]
        cut_N[1:] |= (words_N[1:] != words_N[:-1]) | (text_N[1:] != text_N[:-1]) | stands_alone_V[ids_N[:-1]]
        characters = np.insert(ids_N + FIRST_CHARACTER, np.flatnonzero(cut_N), ord(" "))
        words.append(characters.astype("<u4").tobytes().decode("utf-32-le"))
    return words


def _without(
    merges: list[tuple[str, str]], dropped: Set[str], *, known: dict[str, int], layout: dict[str, Any]
) -> list[tuple[str, str]]:
    """The merges that make none of the dropped pieces, nor build on them."""
    pieces = set(known)
    kept: list[tuple[str, str]] = []
    for pair in merges:
        piece = _product(pair, model=layout["model"])
        if piece not in dropped and pieces.issuperset(pair):
            pieces.add(piece)
            kept.append(pair)
    return kept
