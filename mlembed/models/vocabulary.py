"""Vocabularies for new languages, learnt from the training text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from mlembed.errors import ConfigError
from mlembed.models.bpe_extension import bpe_extension
from mlembed.models.extension import (
    WORD_START,
    Extension,
    accent_folds,
    keep_source,
    layout_vocabulary,
    open_layout,
    strips_accents,
    table_size,
)
from mlembed.models.unigram_extension import unigram_extension

# Long words of languages that build them, or that have no spaces, must not become one unknown token.
MAX_WORD_CHARS = 1000
# Runs of letters in scripts that are written without spaces: Thai, Lao, Tibetan, Burmese, Khmer, kana, Han.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003134f]+"
)
UNSPACED_FACTOR = 6
SPECIAL_ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token", "bos_token", "eos_token")


def special_tokens(teacher: Any) -> list[str]:
    """The teacher's special tokens, each once, in the order of their ids."""
    tokens = {getattr(teacher, role) for role in SPECIAL_ROLES} - {None}
    return sorted(tokens, key=teacher.convert_tokens_to_ids)


def replacing_tokenizer(texts: Iterable[str], *, teacher: Any, size: int, min_frequency: int) -> Any:
    """A WordPiece tokenizer learnt from text in all languages, with the special tokens of the teacher's.

    Args:
        texts: sources and translations.
        teacher: the teacher's tokenizer, of any kind.
        size: number of pieces, at most.
        min_frequency: pieces that are seen less often are not made.

    Returns:
        A tokenizer of transformers.
    """
    plain = _normalizer(teacher)
    pieces = _learn(texts, normalizer=plain, size=size, min_frequency=min_frequency)
    vocabulary = {piece: at for at, piece in enumerate(dict.fromkeys([*special_tokens(teacher), *pieces]))}
    return _wrap(_wordpiece(vocabulary, teacher=teacher, normalizer=plain), teacher=teacher)


def extending_tokenizer(
    targets: Sequence[str], sources: Sequence[str], *, teacher: Any, size: int, min_frequency: int
) -> Any:
    """The teacher's tokenizer with further pieces, which cuts source text as before.

    Accents, marks and Chinese characters are no longer taken apart: the new languages need them. New ids follow the
    teacher's highest one.

    Args:
        targets: texts in the new languages.
        sources: texts in the source language, whose pieces must not change.
        teacher: the teacher's tokenizer, a WordPiece, BPE or Unigram one.
        size: number of new pieces, at most.
        min_frequency: pieces that are seen less often are not made.

    Raises:
        ConfigError: the teacher's tokenizer is of another kind.
    """
    layout = open_layout(teacher)
    kind = layout["model"]["type"]
    options: dict[str, Any] = {"layout": layout, "size": size, "min_frequency": min_frequency}
    if kind == "WordPiece":
        extension = _wordpiece_extension(list(targets), teacher=teacher, **options)
    elif kind == "BPE":
        extension = bpe_extension(list(targets), folds=strips_accents(teacher), **options)
    elif kind == "Unigram":
        extension = unigram_extension(list(targets), folds=strips_accents(teacher), **options)
    else:
        raise ConfigError(
            "model.vocabulary=extend needs a teacher with a WordPiece, BPE or Unigram tokenizer, and this one's is "
            f"{kind}; use model.vocabulary=replace"
        )
    extended = keep_source(extension, sources, first_new=table_size(layout_vocabulary(layout)))
    return _wrap(extended, teacher=teacher)


def _wordpiece_extension(
    targets: list[str], *, teacher: Any, layout: dict[str, Any], size: int, min_frequency: int
) -> Extension:
    plain = _normalizer(teacher)
    own = layout_vocabulary(layout)
    pieces = _learn(targets, normalizer=plain, size=size, min_frequency=min_frequency)
    new = [piece for piece in pieces if piece not in own]

    def extension(dropped: Set[str]) -> Tokenizer:
        # WordPiece takes the longest piece: one of another language may be longer than the teacher's in source text.
        # Single characters stay, whatever text they are in: without them it is unknown.
        kept = [piece for piece in new if len(piece.removeprefix("##")) == 1 or piece not in dropped]
        vocabulary = own | {piece: at for at, piece in enumerate(kept, start=table_size(own))}
        model = layout["model"] | {"vocab": vocabulary, "max_input_chars_per_word": MAX_WORD_CHARS}
        extended = Tokenizer.from_str(json.dumps(layout | {"model": model}))
        extended.normalizer = _with_unknown_characters(plain, vocabulary, teacher=teacher)
        return extended

    return extension


def _normalizer(teacher: Any) -> normalizers.Normalizer:
    """Case as the teacher takes it; accents stay, and so do characters that NFKC would fold."""
    lower_cases = teacher.tokenize("HOUSE") == teacher.tokenize("house")
    clean = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=lower_cases
    )
    return normalizers.Sequence([normalizers.NFC(), clean])


def _learn(texts: Iterable[str], *, normalizer: normalizers.Normalizer, size: int, min_frequency: int) -> list[str]:
    """WordPiece pieces, most frequent merges first; those of scripts without spaces are learnt apart.

    There a run of letters is a sentence, and merges become phrases, which say too much to be aligned and are seen too
    seldom to be learnt. They must be `UNSPACED_FACTOR` times as frequent.
    """
    texts = list(texts)
    spaced = _merge((UNSPACED.sub(" ", text) for text in texts), normalizer, size=size, min_frequency=min_frequency)
    unspaced = _merge(
        (" ".join(UNSPACED.findall(text)) for text in texts),
        normalizer,
        size=size,
        min_frequency=UNSPACED_FACTOR * min_frequency,
    )
    # Letters first: without them a word is unknown.
    pieces = sorted([*spaced, *unspaced], key=lambda piece: len(piece.removeprefix("##")) > 1)
    return list(dict.fromkeys(pieces))[:size]


def _merge(texts: Iterable[str], normalizer: normalizers.Normalizer, *, size: int, min_frequency: int) -> list[str]:
    """WordPiece pieces from BPE merges, most frequent merges first.

    The trainer for WordPiece gives other pieces at each run, and a run that is resumed must find its vocabulary again.
    """
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizer
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=min_frequency, show_progress=False)
    bpe.train_from_iterator(texts, trainer)
    learnt = [piece for piece, _ in sorted(bpe.get_vocab().items(), key=lambda item: item[1])]
    pieces = [piece[1:] if piece.startswith(WORD_START) else f"##{piece}" for piece in learnt]
    letters = [piece for piece in learnt if len(piece) == 1 and piece != WORD_START]
    return [piece for piece in dict.fromkeys([*pieces, *letters]) if piece not in ("", "##")]


def _wordpiece(vocabulary: dict[str, int], *, teacher: Any, normalizer: normalizers.Normalizer) -> Tokenizer:
    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token=teacher.unk_token, max_input_chars_per_word=MAX_WORD_CHARS)
    )
    tokenizer.normalizer = _with_unknown_characters(normalizer, vocabulary, teacher=teacher)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    begin, end = teacher.cls_token or teacher.bos_token, teacher.sep_token or teacher.eos_token
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} $B:1 {end}:1",
        special_tokens=[(token, vocabulary[token]) for token in dict.fromkeys((begin, end))],
    )
    return tokenizer


def _with_unknown_characters(
    normalizer: normalizers.Normalizer, vocabulary: Mapping[str, int], *, teacher: Any
) -> normalizers.Normalizer:
    """Accents that no piece has are folded; other unknown characters are set apart.

    WordPiece makes one unknown token of a word with one unknown character: in a script without spaces that is the whole
    sentence.
    """
    special = set(special_tokens(teacher))
    known = {character for piece in vocabulary if piece not in special for character in piece}
    folds = accent_folds(lambda character: {character, f"##{character}"} <= vocabulary.keys())
    unknown = Regex("([^\\s" + "".join(re.escape(character) for character in sorted(known)) + "])")
    return normalizers.Sequence([normalizer, *folds, normalizers.Replace(unknown, " \ufffd ")])


def _wrap(tokenizer: Tokenizer, *, teacher: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    roles = {role: getattr(teacher, role) for role in SPECIAL_ROLES if getattr(teacher, role) is not None}
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=teacher.model_max_length,
        model_input_names=teacher.model_input_names,
        padding_side=teacher.padding_side,
        truncation_side=teacher.truncation_side,
        **roles,
    )
