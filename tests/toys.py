"""Toy models and toy languages, made in memory and written to a folder of the test."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from mlembed.export.sentence_transformers import export_encoder
from mlembed.models.encoder import Encoder

WORDS = [
    "the",
    "a",
    "red",
    "blue",
    "small",
    "old",
    "dog",
    "cat",
    "bird",
    "house",
    "tree",
    "river",
    "sees",
    "finds",
    "likes",
    "opens",
    "near",
    "under",
    "with",
    "today",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LANGUAGES = ("xx", "yy")


def translate(sentence: str, language: str) -> str:
    """A toy language: each word has its own word, and the order is turned around."""
    return " ".join(f"{language}{word}" for word in reversed(sentence.split()))


def toy_tokenizer(extra: list[str] | None = None) -> PreTrainedTokenizerFast:
    words = [*WORDS, *(f"{language}{word}" for language in LANGUAGES for word in WORDS), *(extra or [])]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate([*SPECIAL, *words])}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **names)


def toy_encoder(*, seed: int = 0, width: int = 32, layers: int = 2, dropout: float = 0.1) -> Encoder:
    tokenizer = toy_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        transformer = BertModel(config, add_pooling_layer=False)
    # Larger than the usual first weights, so that sentences differ.
    with torch.no_grad():
        transformer.embeddings.word_embeddings.weight.mul_(20)
    return Encoder(transformer, tokenizer=tokenizer, pooling="mean", dense=[], normalize=True, max_length=32)


def write_toy_model(folder: Path, **options: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    export_encoder(toy_encoder(**options), folder, card="a toy\n")
    return folder


def toy_sentences(count: int, *, seed: int = 0) -> list[str]:
    generator = random.Random(seed)
    sentences: dict[str, None] = {}
    while len(sentences) < count:
        sentences[" ".join(generator.choices(WORDS, k=generator.randint(3, 9)))] = None
    return list(sentences)


def write_toy_data(path: Path, *, count: int = 120, seed: int = 0) -> Path:
    lines = ["source\ttarget\tlang"]
    for sentence in toy_sentences(count, seed=seed):
        lines += [f"{sentence}\t{translate(sentence, language)}\t{language}" for language in LANGUAGES]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def toy_command(folder: Path) -> list[str]:
    """Arguments of a training run of a second or two; model and data are made in the folder when they are not there."""
    if not (folder / "teacher").exists():
        write_toy_model(folder / "teacher")
        write_toy_data(folder / "data.tsv")
    return [
        "train",
        "model=copy",
        "data=files",
        f"data.train={folder / 'data.tsv'}",
        "data.languages=[xx,yy]",
        "data.validation_size=20",
        "data.test_size=20",
        f"model.teacher.name={folder / 'teacher'}",
        "model.student.dropout=0.1",
        "trainer.precision=fp32",
        "trainer.device=cpu",
        "trainer.batch_tokens=256",
        "trainer.epochs=2",
        "optimizer.lr=1e-3",
        f"run.root={folder / 'runs'}",
    ]
