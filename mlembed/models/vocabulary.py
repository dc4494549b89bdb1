"""Vocabularies for new languages, learnt from the training text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from mlembed.errors import ConfigError

# Long words of languages that build them, or that have no spaces, must not become one unknown token.
MAX_WORD_CHARS = 1000
SPECIAL_ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token", "bos_token", "eos_token")


def special_tokens(teacher: Any) -> list[str]:
    """The teacher's special tokens, each once, in the order of their ids."""
    tokens = {getattr(teacher, role) for role in SPECIAL_ROLES} - {None}
    return sorted(tokens, key=teacher.convert_tokens_to_ids)


def replacing_tokenizer(texts: Iterable[str], *, teacher: Any, size: int, min_frequency: int) -> Any:
    """A WordPiece tokenizer learnt from text in all languages, with the special tokens of the teacher's.

    Args:
        texts: sources and translations.
        teacher: the teacher's tokenizer.
        size: number of tokens, at most.
        min_frequency: pieces that are seen less often are not made.

    Returns:
        A tokenizer of transformers.
    """
    learnt = _learn(texts, special=special_tokens(teacher), unknown=teacher.unk_token, size=size, min_frequency=min_frequency,
                    lower_case=_lower_cases(teacher))
    begin, end = teacher.cls_token or teacher.bos_token, teacher.sep_token or teacher.eos_token
    learnt.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} $B:1 {end}:1",
        special_tokens=[(token, learnt.token_to_id(token)) for token in dict.fromkeys((begin, end))],
    )
    return _wrap(learnt, teacher=teacher)


def extending_tokenizer(
    targets: Iterable[str], sources: Sequence[str], *, teacher: Any, size: int, min_frequency: int
) -> Any:
    """The teacher's WordPiece tokenizer with further pieces, which cut source text as before.

    Accents and Chinese characters are no longer taken apart: the new languages need them.

    Args:
        targets: texts in the new languages.
        sources: texts in the source language, whose pieces must not change.
        teacher: the teacher's tokenizer, a WordPiece one.
        size: number of new pieces, at most.
        min_frequency: pieces that are seen less often are not made.

    Raises:
        ConfigError: the teacher's tokenizer is of another kind.
    """
    layout = json.loads(teacher.backend_tokenizer.to_str())
    if layout["model"]["type"] != "WordPiece":
        raise ConfigError(
            f"model.vocabulary=extend needs a WordPiece teacher, and this one is {layout['model']['type']}; "
            "use model.vocabulary=replace"
        )
    learnt = _learn(targets, special=special_tokens(teacher), unknown=teacher.unk_token, size=size,
                    min_frequency=min_frequency, lower_case=_lower_cases(teacher))
    own = layout["model"]["vocab"]
    by_id = sorted(learnt.get_vocab().items(), key=lambda item: item[1])
    new = [piece for piece, _ in by_id if piece not in own]
    layout["normalizer"] = json.loads(learnt.to_str())["normalizer"]
    layout["pre_tokenizer"] = json.loads(learnt.to_str())["pre_tokenizer"]
    layout["model"]["max_input_chars_per_word"] = MAX_WORD_CHARS
    layout["truncation"] = layout["padding"] = None
    while True:
        layout["model"]["vocab"] = own | {piece: len(own) + at for at, piece in enumerate(new)}
        extended = Tokenizer.from_str(json.dumps(layout))
        # A piece of another language that is longer than the teacher's would be taken in source text too.
        taken = {extended.id_to_token(one) for text in extended.encode_batch(list(sources)) for one in text.ids}
        foreign = {piece for piece in taken - own.keys() if piece.isascii()}
        if not foreign:
            return _wrap(extended, teacher=teacher)
        new = [piece for piece in new if piece not in foreign]


def _learn(
    texts: Iterable[str], *, special: list[str], unknown: str, size: int, min_frequency: int, lower_case: bool
) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token=unknown, max_input_chars_per_word=MAX_WORD_CHARS))
    clean = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=lower_case
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), clean])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=min_frequency, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _lower_cases(teacher: Any) -> bool:
    """Whether the teacher makes no difference between upper and lower case."""
    return bool(teacher.tokenize("HOUSE") == teacher.tokenize("house"))


def _wrap(tokenizer: Tokenizer, *, teacher: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    roles = {role: getattr(teacher, role) for role in SPECIAL_ROLES if getattr(teacher, role) is not None}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=teacher.model_max_length, **roles)
