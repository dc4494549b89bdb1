"""Toy models with a head, of the families that classifiers come from."""

from __future__ import annotations

from pathlib import Path

import torch
from families import BERT_SPECIAL, family_tokenizer, write_family
from subwords import SPECIAL, wrapped
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from toys import WORDS, toy_sentences
from transformers import PreTrainedTokenizerFast

from mlembed.export.classifier import export_classifier
from mlembed.models.classifier import Classifier, Head, with_head
from mlembed.models.encoder import load_encoder

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
ONE = Head("text", ("bad", "fair", "good"))
MANY = Head("text", ("red", "green", "blue", "black"), "many")
SCORE = Head("text", ("score",), "score")
WORDS_HEAD = Head("words", TAGS)


def bert_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words, and token types for pairs, as BERT's."""
    tokenizer = family_tokenizer(BERT_SPECIAL)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def unigram() -> PreTrainedTokenizerFast:
    """As XLM-R's; the mark of a space is always with letters, as pipelines expect where they look for words."""
    begins = [f"\u2581{word[:3]}" for word in WORDS]
    rests = [word[3:] for word in WORDS if word[3:]]
    pieces = [(piece, -1.0) for piece in dict.fromkeys((*begins, *rests))]
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    tokenizer = Tokenizer(models.Unigram([*special, *pieces, ("<mask>", 0.0)], unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return wrapped(tokenizer)


def byte_level() -> PreTrainedTokenizerFast:
    """As RoBERTa's, with whole words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(toy_sentences(150), trainer)
    return wrapped(tokenizer)


TOKENIZERS = {"bert": bert_tokenizer, "xlm-roberta": unigram, "roberta": byte_level}


def toy_classifier(folder: Path, head: Head, *, family: str = "bert", seed: int = 0) -> Classifier:
    """A model with random weights, whose answers differ from text to text."""
    tokenizer = TOKENIZERS.get(family, bert_tokenizer)()
    encoder = load_encoder(write_family(folder, family, tokenizer=tokenizer), key="model.student.name")
    # A folder of transformers alone does not say that there are token types.
    encoder.tokenizer = tokenizer
    classifier = with_head(encoder, head, seed=seed).eval()
    with torch.no_grad():
        for name, parameter in classifier.transformer.named_parameters():
            if "classifier" in name:
                parameter.mul_(20)
    return classifier


def write_classifier(folder: Path, head: Head, *, family: str = "bert") -> Path:
    """The folder of such a model, as `mlembed train` leaves it."""
    classifier = toy_classifier(folder / "body", head, family=family)
    (folder / "model").mkdir()
    export_classifier(classifier, folder / "model", card="a toy\n")
    return folder / "model"
