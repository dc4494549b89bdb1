"""Toy tasks with labels in made-up languages: what a sentence is about is in one of its words."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import processors
from toys import WORDS, toy_encoder, toy_sentences, translate

from mlembed.cli import main
from mlembed.export.sentence_transformers import export_encoder

KEYWORDS = {"move": ("sees", "finds", "likes", "opens"), "pet": ("dog", "cat", "bird"), "place": ("house", "river")}
FILLERS = [word for word in WORDS if not any(word in words for words in KEYWORDS.values())]
LABELS = sorted(KEYWORDS)


def sentence(generator: random.Random, labels: Iterable[str]) -> str:
    words = generator.choices(FILLERS, k=generator.randint(2, 5))
    words += [generator.choice(KEYWORDS[one]) for one in labels]
    generator.shuffle(words)
    return " ".join(words)


def in_language(text: str, language: str) -> str:
    return text if language == "en" else translate(text, language)


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    path.write_text("".join("\t".join(row) + "\n" for row in (header, *rows)), encoding="utf-8")
    return path


def labelled_rows(
    count: int, *, languages: Sequence[str], seed: int, several: bool = False, common: int = 1
) -> list[tuple[str, str, str, str]]:
    """Text, label, language, id; the last label is `common` times as frequent as the others."""
    generator = random.Random(seed)
    rows = []
    for at in range(count):
        one_label = (LABELS + LABELS[-1:] * (common - 1))[at % (2 + common)]
        chosen = generator.sample(LABELS, generator.randint(0, 2)) if several else [one_label]
        text = sentence(generator, chosen)
        rows += [(in_language(text, one), "|".join(sorted(chosen)), one, f"s{seed}-{at}") for one in languages]
    return rows


HEADER = ("text", "label", "lang", "id")


def write_classification(folder: Path, *, several: bool = False) -> None:
    """Labels in the source language alone, or in yy too; held-out files in the source language and in xx."""
    write_table(folder / "train.tsv", HEADER, labelled_rows(120, languages=("en",), seed=1, several=several))
    write_table(folder / "both.tsv", HEADER, labelled_rows(120, languages=("en", "yy"), seed=1, several=several))
    write_table(folder / "valid.tsv", HEADER, labelled_rows(30, languages=("en", "xx"), seed=2, several=several))
    write_table(folder / "test.tsv", HEADER, labelled_rows(40, languages=("en", "xx"), seed=3, several=several))
    texts = [(text, lang) for text, _, lang, _ in labelled_rows(60, languages=("en",), seed=4)]
    write_table(folder / "unlabelled.tsv", ("text", "lang"), texts)


def write_parallel(path: Path, *, count: int = 150) -> Path:
    generator = random.Random(5)
    about = [sentence(generator, [one]) for one in LABELS * (count // 4)]
    texts = dict.fromkeys([*toy_sentences(count // 3, seed=5), *about])
    rows = [(text, translate(text, one), one) for text in texts for one in ("xx", "yy")]
    return write_table(path, ("source", "target", "lang"), rows)


def write_lively_model(folder: Path, *, seed: int = 0, width: int = 32, dropout: float = 0.1) -> Path:
    """A toy encoder whose first token looks around, so that what it reads differs from text to text."""
    encoder = toy_encoder(seed=seed, width=width, dropout=dropout)
    with torch.no_grad():
        for name, parameter in encoder.transformer.named_parameters():
            if "encoder" in name and parameter.dim() == 2:
                parameter.mul_(5)
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    encoder.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    folder.mkdir(parents=True, exist_ok=True)
    export_encoder(encoder, folder, card="a toy\n")
    return folder


def label_folder(folder: Path, *, several: bool = False) -> Path:
    write_lively_model(folder / "teacher")
    write_lively_model(folder / "small", seed=1, width=16)
    write_classification(folder, several=several)
    write_parallel(folder / "parallel.tsv")
    return folder


def label_command(folder: Path, *, run: Path, task: str = "classification", train: str = "train.tsv") -> list[str]:
    """Arguments of a run of a second or two, without text to distil on."""
    return [
        "train",
        f"task={task}",
        "data=files",
        "model=copy",
        f"data.train={folder / train}",
        f"data.validation={folder / 'valid.tsv'}",
        f"data.test={folder / 'test.tsv'}",
        f"model.teacher.name={folder / 'teacher'}",
        "task.batch_tokens=160",
        "task.fine_tuning.epochs=12",
        "task.fine_tuning.lr=5e-3",
        "trainer.precision=fp32",
        "trainer.device=cpu",
        "trainer.batch_tokens=256",
        "trainer.epochs=8",
        "trainer.progress=none",
        "optimizer.lr=5e-3",
        f"run.dir={run}",
    ]


def with_parallel(folder: Path) -> str:
    return f"data.parallel={folder / 'parallel.tsv'}"


def with_unlabelled(folder: Path) -> str:
    return f"data.unlabelled={folder / 'unlabelled.tsv'}"


def trained(arguments: Sequence[str], *more: str) -> dict[str, Any]:
    """Run to the end; the report."""
    assert main([*arguments, *more]) == 0
    run = next(one for one in arguments if one.startswith("run.dir=")).removeprefix("run.dir=")
    report: dict[str, Any] = json.loads((Path(run) / "report.json").read_text(encoding="utf-8"))
    return report


# Steps of the teacher's stage, and of the zero-shot student's, in a run of `label_survival_command`.
STAGE_STEPS = 12


def label_survival_command(folder: Path, *, run: Path, more: Sequence[str] = ()) -> list[str]:
    """A short run with all stages, each with checkpoints, and with dropout throughout."""
    return [
        *label_command(folder, run=run),
        with_parallel(folder),
        "model=pretrained",
        f"model.student.name={folder / 'small'}",
        "model.warm_start=none",
        "model.student.dropout=0.1",
        "task.fine_tuning.epochs=2",
        "trainer.epochs=1",
        "trainer.save_every=3",
        *more,
    ]


def tagged_rows(count: int, *, languages: Sequence[str], seed: int) -> list[tuple[str, str, str, str]]:
    """Words, tags, language, id; pets and places are names of one word."""
    kinds = {word: f"B-{label.upper()}" for label in ("pet", "place") for word in KEYWORDS[label]}
    generator = random.Random(seed)
    rows = []
    for at in range(count):
        words = sentence(generator, generator.choices(LABELS, k=2)).split()
        for one in languages:
            order = words if one == "en" else words[::-1]
            own = words if one == "en" else in_language(" ".join(words), one).split()
            rows.append((" ".join(own), " ".join(kinds.get(word, "O") for word in order), one, f"t{seed}-{at}"))
    return rows


def write_tags(folder: Path) -> Path:
    header = ("tokens", "tags", "lang", "id")
    write_table(folder / "train.tsv", header, tagged_rows(120, languages=("en",), seed=1))
    write_table(folder / "valid.tsv", header, tagged_rows(30, languages=("en", "xx"), seed=2))
    write_table(folder / "test.tsv", header, tagged_rows(40, languages=("en", "xx"), seed=3))
    texts = [(words, lang) for words, _, lang, _ in tagged_rows(60, languages=("en",), seed=4)]
    write_table(folder / "unlabelled.tsv", ("text", "lang"), texts)
    return folder


def pair_rows(
    count: int, *, languages: Sequence[str], seed: int, scores: bool, matching: bool
) -> list[tuple[str, str, str, str]]:
    """Two texts; a yes or no, as label or score: are both about the same, or is the second about a pet?"""
    generator = random.Random(seed)
    rows = []
    for at in range(count):
        first, second = generator.choice(LABELS), "pet"
        if matching:
            second = first if at % 2 else generator.choice([one for one in LABELS if one != first])
        elif not at % 2:
            first, second = "pet", generator.choice(["move", "place"])
        answer = ("5" if at % 2 else "0") if scores else ("yes" if at % 2 else "no")
        texts = [sentence(generator, [one]) for one in (first, second)]
        rows += [(*(in_language(text, one) for text in texts), answer, one) for one in languages]
    return rows


def write_pairs(folder: Path, *, scores: bool, matching: bool) -> Path:
    header = ("text", "text_b", "score" if scores else "label", "lang")
    write_table(
        folder / "train.tsv", header, pair_rows(200, languages=("en",), seed=1, scores=scores, matching=matching)
    )
    write_table(
        folder / "valid.tsv", header, pair_rows(40, languages=("en", "xx"), seed=2, scores=scores, matching=matching)
    )
    write_table(
        folder / "test.tsv", header, pair_rows(60, languages=("en", "xx"), seed=3, scores=scores, matching=matching)
    )
    texts = [
        (a, b, lang) for a, b, _, lang in pair_rows(60, languages=("en",), seed=4, scores=scores, matching=matching)
    ]
    write_table(folder / "unlabelled.tsv", ("text", "text_b", "lang"), texts)
    return folder
