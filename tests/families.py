"""Toy models of the families that students come from, with random weights, written as folders."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from toys import LANGUAGES, WORDS
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLMRobertaConfig,
)

# The order in which BERT's and RoBERTa's vocabularies begin: the padding has the id 0 in one, 1 in the other.
BERT_SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ROBERTA_SPECIAL = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
MAX_TOKENS = 24
LAYERS = 3
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}


def _bert(config: Callable[..., PretrainedConfig], **more: Any) -> Callable[[int], PretrainedConfig]:
    settings = {"max_position_embeddings": MAX_TOKENS, "pad_token_id": 0, **SHAPE, **more}
    return lambda vocabulary: config(vocab_size=vocabulary, **settings)


def _roberta(config: Callable[..., PretrainedConfig]) -> Callable[[int], PretrainedConfig]:
    # Positions are counted from pad_token_id + 1, so two of them are never used.
    return _bert(config, max_position_embeddings=MAX_TOKENS + 2, pad_token_id=1)


FAMILIES: dict[str, Callable[[int], PretrainedConfig]] = {
    "bert": _bert(BertConfig),
    "roberta": _roberta(RobertaConfig),
    "xlm-roberta": _roberta(XLMRobertaConfig),
    "distilbert": lambda vocabulary: DistilBertConfig(
        vocab_size=vocabulary, max_position_embeddings=MAX_TOKENS, dim=32, n_layers=LAYERS, n_heads=2, hidden_dim=48
    ),
    "mpnet": _roberta(MPNetConfig),
    "modernbert": _bert(
        ModernBertConfig,
        local_attention=8,
        global_attn_every_n_layers=2,
        bos_token_id=2,
        eos_token_id=3,
        cls_token_id=2,
        sep_token_id=3,
    ),
    "electra": _bert(ElectraConfig, embedding_size=16),
}


def family_tokenizer(special: dict[str, str]) -> PreTrainedTokenizerFast:
    vocabulary = [*special.values(), *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(vocabulary)}, special["unk"]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(special[name], vocabulary.index(special[name])) for name in ("cls", "sep")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{special['cls']} $A {special['sep']}", special_tokens=ends
    )
    names = {f"{name}_token": token for name, token in special.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


# Kinds of tokenizers with pieces of words, and the families that have them.
SUBWORDS = {"WordPiece": "bert", "BPE": "roberta", "Unigram": "xlm-roberta"}
FOREIGN = [f"{language}{word}" for language in LANGUAGES for word in WORDS]


def subword_tokenizer(kind: str, *, byte_fallback: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer as its family has it: BERT's with unused tokens before the padding, RoBERTa's with bytes."""
    special = BERT_SPECIAL if kind == "WordPiece" else ROBERTA_SPECIAL
    make = {"WordPiece": _wordpiece, "BPE": _bpe, "Unigram": _unigram}[kind]
    tokenizer = _unigram(byte_fallback=True) if byte_fallback else make()
    names = {f"{name}_token": token for name, token in special.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=MAX_TOKENS, **names)


def _wordpiece() -> Tokenizer:
    letters = sorted({letter for word in [*WORDS, *FOREIGN] for letter in word})
    beginnings = [word[:length] for word in [*WORDS, *FOREIGN] for length in (2, 3, 4)]
    endings = [f"##{word[length:]}" for word in WORDS for length in (1, 2, 3) if word[length:]]
    pieces = ["[unused0]", "[unused1]", *BERT_SPECIAL.values(), *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: at for at, piece in enumerate(dict.fromkeys([*pieces, *beginnings, *endings]))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    return tokenizer


def _bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*WORDS, *FOREIGN] * 2, trainer)
    tokenizer.add_special_tokens(["<mask>"])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def _unigram(*, byte_fallback: bool = False) -> Tokenizer:
    words = [f"\u2581{word}" for word in [*WORDS, *FOREIGN]]
    parts = [word[a:b] for word in words for a in range(len(word)) for b in range(a + 1, a + 5) if b <= len(word)]
    bytes_ = [(f"<0x{byte:02X}>", 0.0) for byte in range(256 if byte_fallback else 0)]
    scored = [(part, math.log(parts.count(part) / len(parts))) for part in dict.fromkeys(parts)]
    head = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    pieces = [*head, *bytes_, *scored, ("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=byte_fallback))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    ends = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.post_processor = processors.Sequence([ends])
    return tokenizer


def write_family(folder: Path, family: str, *, tokenizer: PreTrainedTokenizerFast | None = None) -> Path:
    """Write model and tokenizer as transformers does, without any file of sentence-transformers."""
    has_roberta = family in ("roberta", "xlm-roberta", "mpnet")
    tokenizer = tokenizer or family_tokenizer(ROBERTA_SPECIAL if has_roberta else BERT_SPECIAL)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = AutoModel.from_config(FAMILIES[family](len(tokenizer)))
        with torch.no_grad():
            for parameter in model.parameters():
                # Larger than usual first weights: what is wrong in one layer must show in the vectors.
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
