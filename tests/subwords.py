"""Toy tokenizers of each kind, trained on an English toy text in memory, and text in other scripts."""

from __future__ import annotations

import json
from collections.abc import Callable

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from toys import toy_sentences
from transformers import PreTrainedTokenizerFast

# RoBERTa's mask takes the space before it.
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True)]
# The teachers have not seen the last one, but know its letters.
SOURCES = [*toy_sentences(150), "the quick brown fox jumps over the lazy dog", "a vexing zebra"]
SCRIPTS = {
    "Cyrillic": ["большая река течёт", "старая собака видит птицу", "птица видит реку", "большая собака"],
    "Devanagari": ["हिन्दी भाषा सुन्दर है", "बड़ी नदी बहती है", "पुरानी हिन्दी", "सुन्दर नदी"],
    "Arabic": ["العربية لغة جميلة", "النهر الكبير", "لغة النهر جميلة", "الكلب الكبير"],
    "Chinese": ["我们去看大河", "东京的大河很长", "我们去东京", "大河很长"],
    "Latin": ["die Größe der Straße", "eine Größe", "die Straße in Österreich", "der Straße"],
}
TARGETS = [text for texts in SCRIPTS.values() for text in texts] * 3


def wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")],
    )
    roles = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, unk_token="<unk>", mask_token="<mask>", **roles
    )


def trained(tokenizer: Tokenizer, trainer: trainers.Trainer) -> PreTrainedTokenizerFast:
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokenizer.train_from_iterator([*SOURCES[:150], letters, " ".join(letters)], trainer)
    return wrapped(tokenizer)


def byte_level() -> PreTrainedTokenizerFast:
    """As RoBERTa's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trained(
        tokenizer,
        trainers.BpeTrainer(
            vocab_size=320, special_tokens=SPECIAL, initial_alphabet=sorted(alphabet), show_progress=False
        ),
    )


def metaspace() -> PreTrainedTokenizerFast:
    """BPE of SentencePiece."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return trained(tokenizer, trainers.BpeTrainer(vocab_size=90, special_tokens=SPECIAL, show_progress=False))


def whole_text() -> PreTrainedTokenizerFast:
    """BPE as Llama's and Gemma's: the text is one word, whose spaces are written as marks."""
    layout = json.loads(metaspace().backend_tokenizer.to_str())
    prepend, replace = normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")
    tokenizer = Tokenizer.from_str(json.dumps(layout | {"pre_tokenizer": None}))
    tokenizer.normalizer = normalizers.Sequence([prepend, replace])
    return wrapped(tokenizer)


def end_of_word() -> PreTrainedTokenizerFast:
    """BPE as GPT-1's, which marks where a word ends; accents are stripped."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.BertPreTokenizer(), decoders.BPEDecoder()
    return trained(
        tokenizer,
        trainers.BpeTrainer(vocab_size=90, special_tokens=SPECIAL, end_of_word_suffix="</w>", show_progress=False),
    )


def unigram() -> PreTrainedTokenizerFast:
    """As XLM-R's."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    return trained(
        tokenizer,
        trainers.UnigramTrainer(vocab_size=90, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False),
    )


def bare_letters() -> PreTrainedTokenizerFast:
    """Unigram as ALBERT's: lower case, without accents."""
    tokenizer = unigram().backend_tokenizer
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    return wrapped(tokenizer)


TEACHERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    make.__name__: make for make in (byte_level, metaspace, whole_text, end_of_word, unigram, bare_letters)
}
