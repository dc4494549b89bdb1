"""Whole runs of tasks with labels, in made-up languages: what is learnt, what crosses over, and what is left behind."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crashes import evaluations, losses, records, slow
from label_toys import (
    LABELS,
    label_command,
    label_folder,
    tagged_rows,
    trained,
    with_parallel,
    with_unlabelled,
    write_pairs,
    write_table,
    write_tags,
)
from safetensors.torch import load_file, save_file

Folder = Callable[..., Path]
SMALL = "model.student.name={folder}/small"
CLASSES = {"task.answer=label", "trainer.metric=macro_f1"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return label_folder(tmp_path_factory.mktemp("labels"))


@pytest.fixture(scope="session")
def tags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tags(label_folder(tmp_path_factory.mktemp("tags")))


def pairs(to: Path, *, scores: bool, matching: bool = False) -> Path:
    return write_pairs(label_folder(to / "pairs"), scores=scores, matching=matching)


def value(report: dict[str, Any], system: str, language: str, metric: str = "accuracy") -> float:
    found: float = report["systems"][system]["languages"][language][metric]["value"]
    return found


def assert_stage(run: Path, name: str) -> None:
    assert sorted(path.name for path in (run / name).iterdir()) == ["metrics.jsonl", "stage.json", "student"]
    assert json.loads((run / name / "stage.json").read_text())["stage"] == name
    assert len(losses(run / name)) > 10 and 0 in evaluations(run / name)


def assert_pipeline_agrees(run: Path, folder: Path, report: dict[str, Any], *, languages: tuple[str, ...]) -> None:
    """The exported student, loaded by somebody else, is as good as the report says."""
    from transformers import pipeline

    classify = pipeline("text-classification", str(run / "student"), device="cpu")
    with (folder / "test.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for language in languages:
        own = [row for row in rows if row["lang"] == language]
        answers = classify([row["text"] for row in own])
        right = sum(answer["label"] == row["label"] for answer, row in zip(answers, own, strict=True))
        assert right / len(own) == pytest.approx(value(report, "after", language))


def test_labels_alone(folder: Path, tmp_path: Path) -> None:
    report = trained(label_command(folder, run=tmp_path / "run"))
    assert list(report["systems"]) == ["majority", "tfidf", "after"]
    assert list(report["metrics"]) == ["macro_f1", "micro_f1", "accuracy", "calibration_error", "consistency"]
    assert value(report, "majority", "en") == pytest.approx(0.35)
    assert value(report, "after", "en") > 0.7
    assert value(report, "after", "xx") < 0.6, "nobody taught it xx"
    assert not (tmp_path / "run" / "teacher").exists() and not (tmp_path / "run" / "zero_shot").exists()
    assert_pipeline_agrees(tmp_path / "run", folder, report, languages=("en", "xx"))


def test_parallel_text_carries_labels_over(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    report = trained(label_command(folder, run=run), with_parallel(folder))
    assert list(report["systems"]) == ["majority", "tfidf", "teacher", "before", "after"]
    assert "xx" not in report["systems"]["tfidf"]["languages"], "it has no labels there"
    assert value(report, "teacher", "en") > 0.9
    for system in ("teacher", "before"):
        assert value(report, system, "xx") < 0.6
    assert value(report, "after", "xx") > 0.85
    assert value(report, "after", "xx", "consistency") > 0.85
    assert_stage(run, "teacher")
    assert not (run / "zero_shot").exists(), "a copy knows what the teacher knows"
    config = json.loads((run / "student" / "config.json").read_text())
    assert list(config["id2label"].values()) == LABELS
    assert config["problem_type"] == "single_label_classification"
    assert_pipeline_agrees(run, folder, report, languages=("en", "xx"))
    terms = {term for record in records(run) for term in record.get("losses", {})}
    assert terms == {"distillation", "supervised"}


def test_a_student_of_another_width(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = ["model=pretrained", SMALL.format(folder=folder), "optimizer.lr=1e-2", "trainer.epochs=12"]
    report = trained(label_command(folder, run=run), with_parallel(folder), *more)
    assert list(report["systems"]) == ["majority", "tfidf", "teacher", "before", "after"]
    assert_stage(run, "teacher")
    assert_stage(run, "zero_shot")
    assert value(report, "after", "xx") > value(report, "before", "xx") + 0.2
    assert json.loads((run / "student" / "config.json").read_text())["hidden_size"] == 16


@pytest.mark.slow
def test_a_pretrained_student_that_is_the_teachers_folder(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = ["model=pretrained", f"model.student.name={folder / 'teacher'}"]
    report = trained(label_command(folder, run=run), with_parallel(folder), *more)
    assert not (run / "zero_shot").exists(), "it is not trained twice"
    assert report["systems"]["before"] == report["systems"]["teacher"]
    assert value(report, "after", "xx") > 0.85


@pytest.mark.parametrize("role", ["teacher", slow("student")])
def test_a_model_that_knows_the_labels_is_not_fine_tuned(folder: Path, tmp_path: Path, role: str) -> None:
    """Also where its labels stand in another order."""
    before = trained(label_command(folder, run=tmp_path / "first"), "trainer.metric=macro_f1/en")
    known = tmp_path / "first" / "student"
    config = json.loads((known / "config.json").read_text())
    tensors = load_file(known / "model.safetensors")
    turned = {name: tensors[name].flip(0) for name in ("classifier.weight", "classifier.bias")}
    save_file({**tensors, **turned}, known / "model.safetensors", metadata={"format": "pt"})
    names = [config["id2label"][key] for key in sorted(config["id2label"], reverse=True)]
    config |= {"id2label": dict(enumerate(names)), "label2id": {name: at for at, name in enumerate(names)}}
    (known / "config.json").write_text(json.dumps(config))
    run, more = tmp_path / "run", [f"model.{role}.name={known}", with_parallel(folder), "trainer.epochs=2"]
    report = trained(label_command(folder, run=run), "model=pretrained" if role == "student" else "model=copy", *more)
    assert (run / "teacher").exists() == (role == "student") and not (run / "zero_shot").exists()
    system = {"teacher": "teacher", "student": "before"}[role]
    assert value(before, "after", "en") > 0.9
    assert value(report, system, "en") == pytest.approx(value(before, "after", "en"))
    student = json.loads((run / "student" / "config.json").read_text())
    assert list(student["id2label"].values()) == LABELS


def test_a_transplanted_student(folder: Path, tmp_path: Path) -> None:
    """Word alignment alone carries the labels over here; the training must not lose that."""
    run = tmp_path / "run"
    more = ["model=transplant", "model.vocabulary=replace", "model.min_frequency=1"]
    report = trained(label_command(folder, run=run), with_parallel(folder), *more)
    assert value(report, "teacher", "xx") < 0.6
    assert value(report, "before", "xx") > 0.8 and value(report, "after", "xx") > 0.9
    assert_pipeline_agrees(run, folder, report, languages=("en", "xx"))


def test_text_without_labels(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    report = trained(label_command(folder, run=run), with_unlabelled(folder), "trainer.epochs=2")
    assert list(report["systems"]) == ["majority", "tfidf", "teacher", "before", "after"]
    assert value(report, "after", "en") > 0.9
    assert {term for one in records(run) for term in one.get("losses", {})} == {"unlabelled", "supervised"}
    assert "teacher: 60 texts encoded" in (run / "log.txt").read_text()


@pytest.mark.slow
def test_all_terms_together(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = [with_parallel(folder), with_unlabelled(folder), "trainer.epochs=2", "optimizer.lr=1e-2"]
    report = trained(label_command(folder, run=run, train="both.tsv"), *more)
    steps = [one for one in records(run) if "losses" in one]
    assert all(list(one["losses"]) == ["distillation", "unlabelled", "supervised"] for one in steps)
    assert all(one["loss"] == pytest.approx(sum(one["losses"].values())) for one in steps)
    assert report["metadata"]["data"]["used"]["train"]["languages"] == {"en": 120, "yy": 120}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "rows"),
    [(["data.labelled_languages=[en]"], {"en": 120}), (["data.few_shot=2"], {"en": 120, "yy": 6}), ([], None)],
)
def test_whose_labels_are_learnt(
    folder: Path, tmp_path: Path, settings: list[str], rows: dict[str, int] | None
) -> None:
    run = tmp_path / "run"
    report = trained(label_command(folder, run=run, train="both.tsv"), "task.fine_tuning.epochs=2", *settings)
    used = report["metadata"]["data"]["used"]
    assert used["train"]["languages"] == (rows or {"en": 120, "yy": 120})
    assert (run / "zero_shot").exists() == (rows is None or len(rows) > 1)


def test_several_labels_a_text(tmp_path: Path) -> None:
    folder, run = label_folder(tmp_path / "several", several=True), tmp_path / "run"
    more = ["task.multi_label=true", "task.fine_tuning.epochs=25", "data.drop_leaks=false"]
    report = trained(label_command(folder, run=run), with_parallel(folder), *more)
    assert value(report, "teacher", "en", "micro_f1") > 0.8
    assert value(report, "after", "xx", "micro_f1") > value(report, "teacher", "xx", "micro_f1") + 0.2
    config = json.loads((run / "student" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert list(config["label2id"]) == LABELS


def test_tags_of_words(tags: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = [with_unlabelled(tags), "trainer.epochs=1"]
    report = trained(label_command(tags, run=run, task="token_classification"), *more)
    assert list(report["systems"]) == ["teacher", "before", "after"]
    assert value(report, "after", "en", "span_f1") > 0.9
    assert value(report, "after", "xx", "span_f1") < 0.5
    config = json.loads((run / "student" / "config.json").read_text())
    assert list(config["id2label"].values()) == ["O", "B-PET", "I-PET", "B-PLACE", "I-PLACE"]
    from transformers import pipeline

    tag = pipeline("token-classification", str(run / "student"), device="cpu")
    assert [(one["word"], one["entity"]) for one in tag("the dog near a river")] == [
        ("dog", "B-PET"),
        ("river", "B-PLACE"),
    ]


def test_tags_cross_through_parallel_text(tags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tagged_rows(200, languages=("en", "xx"), seed=9)
    english = {row[3]: row[0] for row in rows if row[2] == "en"}
    pairs = [(english[key], words, language) for words, _, language, key in rows if language != "en"]
    write_table(tmp_path / "parallel.tsv", ("source", "target", "lang"), pairs)
    more = [with_parallel(tmp_path), "trainer.epochs=4", "data.languages=[xx]"]
    report = trained(label_command(tags, run=tmp_path / "run", task="token_classification"), *more)
    assert "projection xx: " in capsys.readouterr().err
    assert value(report, "before", "xx", "span_f1") < 0.5
    assert value(report, "after", "xx", "span_f1") > value(report, "before", "xx", "span_f1") + 0.3
    steps = losses(tmp_path / "run")
    assert steps and all(loss is not None for loss in steps.values())


def test_tags_from_people_alone(tags: Path, tmp_path: Path) -> None:
    report = trained(label_command(tags, run=tmp_path / "run", task="token_classification"))
    assert list(report["systems"]) == ["after"]
    assert value(report, "after", "en", "span_f1") > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("trainable", ["true", "false"])
@pytest.mark.parametrize("short", ["teacher", "student"])
def test_teacher_and_student_that_read_other_words(tags: Path, tmp_path: Path, short: str, trainable: str) -> None:
    run = tmp_path / "run"
    more = [
        with_unlabelled(tags),
        "model=pretrained",
        SMALL.format(folder=tags),
        f"model.{short}.max_length=5",
        f"model.teacher.trainable={trainable}",
        "trainer.epochs=2",
    ]
    trained(label_command(tags, run=run, task="token_classification"), *more)
    assert all(loss is not None for loss in losses(run).values())


def test_pairs_with_a_label(tmp_path: Path) -> None:
    folder, run = pairs(tmp_path, scores=False), tmp_path / "run"
    more = [*CLASSES, with_unlabelled(folder), "trainer.epochs=1"]
    report = trained(label_command(folder, run=run, task="pair"), *more)
    assert list(report["systems"]) == ["majority", "tfidf", "teacher", "before", "after"]
    assert value(report, "majority", "en") == 0.5
    assert value(report, "after", "en") > 0.8, "it tells the second text from the first"


@pytest.mark.parametrize("more", [[], slow(["parallel"]), slow(["unlabelled"])])
def test_scores_of_texts_that_are_read_together(tmp_path: Path, more: list[str]) -> None:
    folder, run = pairs(tmp_path, scores=True), tmp_path / "run"
    given = [f"data.{name}={folder / name}.tsv" for name in more]
    report = trained(label_command(folder, run=run, task="pair"), *given, "trainer.epochs=1")
    assert list(report["systems"]) == (["teacher", "before", "after"] if more else ["after"])
    assert list(report["metrics"]) == ["spearman", "pearson"]
    assert value(report, "after", "en", "pearson") > 0.6
    config = json.loads((run / "student" / "config.json").read_text())
    # Other tools take the sigmoid of a single label, unless it is said to be a regression.
    assert config["id2label"] == {"0": "similarity"} and "problem_type" not in config


@pytest.mark.parametrize("model", [[], slow(["model=pretrained", SMALL])])
def test_scores_of_texts_that_are_read_apart(tmp_path: Path, model: list[str]) -> None:
    folder, run = pairs(tmp_path, scores=True, matching=True), tmp_path / "run"
    settings = ["task.architecture=bi_encoder", *(one.format(folder=folder) for one in model)]
    report = trained(label_command(folder, run=run, task="pair"), with_parallel(folder), *settings)
    assert list(report["systems"]) == ["teacher", "before", "after"]
    assert value(report, "teacher", "en", "pearson") > 0.9 and value(report, "teacher", "xx", "pearson") < 0.3
    assert value(report, "after", "xx", "pearson") > 0.6
    assert (run / "student" / "modules.json").is_file(), "it is an encoder, for search"
