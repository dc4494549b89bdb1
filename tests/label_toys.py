"""Toy tasks with labels in made-up languages: what a sentence is about is in one of its words."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
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


def write_lively_model(folder: Path, *, seed: int = 0, width: int = 32) -> Path:
    """A toy encoder whose first token looks around, so that what it reads differs from text to text."""
    encoder = toy_encoder(seed=seed, width=width)
    with torch.no_grad():
        for name, parameter in encoder.transformer.named_parameters():
            if "encoder" in name and parameter.dim() == 2:
                parameter.mul_(5)
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
