"""What a run with labels says when something does not fit, and that it says so before anything is trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from crashes import records, slow
from label_toys import label_command, label_folder, trained, with_parallel, write_lively_model, write_pairs
from safetensors.torch import load_file, save_file

from mlembed.cli import main


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return label_folder(tmp_path_factory.mktemp("labels"))


def refused(capsys: pytest.CaptureFixture[str], code: int, run: Path, arguments: list[str]) -> str:
    """What is said; nothing was trained for it."""
    assert main(arguments) == code
    assert not list(run.rglob("*.safetensors"))
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["model=transplant"], "model=transplant learns a vocabulary from parallel text: give data.parallel=PATH"),
        (
            ["model=transplant", "data.unlabelled={folder}/unlabelled.tsv"],
            "model=transplant learns a vocabulary from parallel text: give data.parallel=PATH",
        ),
        (["loss.weights.supervised=0"], "loss.weights: every term that there is text for has the weight 0"),
        (
            ["loss.weights={supervised: 0, distillation: 0, unlabelled: 1}", "data.parallel={folder}/parallel.tsv"],
            "loss.weights: every term that there is text for has the weight 0",
        ),
        (["loss.weights={supervised: 0, distillation: 0, unlabelled: 0}"], "all weights are 0"),
        (["loss=mse"], "task=classification needs loss=joint"),
        (["model=static"], "model=static has no head for labels; task=classification needs another model"),
        (["model.teacher.trainable=true"], "there is nothing to distil; give data.parallel or data.unlabelled"),
        (["optimizer.teacher_lr=1e-3"], "optimizer.teacher_lr has no effect: the teacher is frozen"),
        (["trainer.metric=retrieval"], "task=classification does not measure retrieval; choose from: macro_f1"),
        (["trainer.metric=span_f1"], "task=classification does not measure span_f1"),
        (["trainer.metric=macro_f1/zz"], "There is no language 'zz'"),
        (
            ["data.source_language=zz", "data.unlabelled={folder}/unlabelled.tsv"],
            "no labelled row in the source language (zz) to train the teacher on",
        ),
        (["data.labelled_languages=[zz]"], "no training row is in such a language; those that are there: en"),
        (["loss.final_weights={supervized: 1.0}"], "loss.final_weights"),
        (["task=pair", "task.class_weights=balanced"], "class_weights has no effect with answer=score"),
        (["task=pair", "task.sampling=balanced"], "sampling has no effect with answer=score"),
    ],
)
def test_what_does_not_go_together(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: list[str], said: str
) -> None:
    run = tmp_path / "run"
    given = [one.format(folder=folder) if one.startswith("data.") else one for one in settings]
    languages = ["data.languages=[en,xx]"] if "trainer.metric=macro_f1/zz" in settings else []
    assert said in refused(capsys, 2, run, [*label_command(folder, run=run), *given, *languages])


@pytest.mark.parametrize("settings", [["loss=joint"], ["data.parallel=x.tsv"], ["model.teacher.trainable=true"]])
def test_what_is_for_labels_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: list[str]
) -> None:
    run = tmp_path / "run"
    arguments = ["train", "data=files", "model=copy", f"data.train={folder / 'parallel.tsv'}", f"run.dir={run}"]
    assert "task" in refused(capsys, 2, run, [*arguments, *settings])


def changed(path: Path, line: int, old: str, new: str, to: Path) -> Path:
    """A copy of a table with something else in one line, from 1."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    to.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return to


@pytest.mark.parametrize("part", ["test", "validation"])
def test_a_label_that_is_never_learnt(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    run, source = tmp_path / "run", folder / {"test": "test.tsv", "validation": "valid.tsv"}[part]
    bad = changed(source, 4, "\tpet\t", "\tpett\t", tmp_path / "bad.tsv")
    arguments = [*label_command(folder, run=run), f"data.{part}={bad}", "task.fine_tuning.epochs=1"]
    said = refused(capsys, 3, run, arguments)
    assert f"{bad}:4: the {part} set has labels that the training data do not have" in said
    assert "'pett' in 1 row" in said and "nearest known label 'pet'" in said
    shutil.rmtree(run)
    report = trained(arguments, "data.on_error=skip")
    assert report["metadata"]["data"]["used"]["left_out"]["unseen_label"] == {"en": 1}


def test_a_pair_without_its_second_text(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    said = refused(capsys, 3, run, label_command(folder, run=run, task="pair"))
    assert f"{folder / 'train.tsv'}:2" in said and "text_b" in said


def test_a_metric_that_these_pairs_do_not_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, run = write_pairs(label_folder(tmp_path / "pairs"), scores=True, matching=False), tmp_path / "run"
    arguments = [*label_command(folder, run=run, task="pair"), "trainer.metric=macro_f1"]
    said = refused(capsys, 2, run, arguments)
    assert "macro_f1" in said and "spearman" in said


def test_a_teacher_that_answers_with_other_labels(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained([*label_command(folder, run=tmp_path / "first"), "task.fine_tuning.epochs=1"])
    run, train = tmp_path / "run", tmp_path / "train.tsv"
    train.write_text((folder / "train.tsv").read_text().replace("\tpet\t", "\tanimal\t"))
    more = [f"data.train={train}", "data.on_error=skip", f"model.teacher.name={tmp_path / 'first' / 'student'}"]
    said = refused(capsys, 2, run, [*label_command(folder, run=run), with_parallel(folder), *more])
    assert "answers with 3 labels (move, pet, place), but the data have 3 labels (animal, move, place)" in said


@pytest.mark.parametrize("more", [[], slow(["unlabelled"])])
def test_a_labelled_batch_that_is_not_finite_names_its_rows(folder: Path, tmp_path: Path, more: list[str]) -> None:
    """The student gives no finite answer to a text with an unknown word."""
    run, spoiled = tmp_path / "run", write_lively_model(tmp_path / "spoiled")
    tensors = load_file(spoiled / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][1] = 3e38
    save_file(tensors, spoiled / "model.safetensors", metadata={"format": "pt"})
    train = tmp_path / "train.tsv"
    train.write_text((folder / "train.tsv").read_text() + "the unheardof dog\tpet\ten\tlast\n")
    arguments = [*label_command(folder, run=run), "model=pretrained", f"model.student.name={spoiled}"]
    given = [f"data.{name}={folder / name}.tsv" for name in more]
    trained(arguments, f"data.train={train}", "task.fine_tuning.epochs=2", "trainer.epochs=2", *given)
    stage = run / "zero_shot" if more else run
    skipped = [record for record in records(stage) if "skipped" in record]
    assert len(skipped) == 2
    assert all(f"{train}:122" in record["skipped"] and record["loss"] is None for record in skipped)
    assert "a step is skipped: loss or gradient is not finite" in (run / "log.txt").read_text()
