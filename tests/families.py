"""Toy models of the families that students come from, with random weights, written as folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from toys import WORDS
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


def write_family(folder: Path, family: str) -> Path:
    """Write model and tokenizer as transformers does, without any file of sentence-transformers."""
    tokenizer = family_tokenizer(ROBERTA_SPECIAL if family in ("roberta", "xlm-roberta", "mpnet") else BERT_SPECIAL)
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
