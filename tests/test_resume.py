"""A run that was ended goes on as if nothing had happened, or says why it does not."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from crashes import (
    STEPS,
    assert_same_run,
    copy_of_interrupted,
    evaluations,
    losses,
    reference,
    run_to_end,
    run_with_fault,
    seal,
    slow,
    survival_command,
)

from mlembed.cli import main

CHECKPOINT_FILES = [
    "manifest.json",
    "optimizer.safetensors",
    "random.json",
    "state.json",
    "student/1_Pooling/config.json",
    "student/2_Normalize/config.json",
    "student/README.md",
    "student/config.json",
    "student/config_sentence_transformers.json",
    "student/model.safetensors",
    "student/modules.json",
    "student/sentence_bert_config.json",
    "student/tokenizer.json",
    "student/tokenizer_config.json",
]
RUN_FILES = [
    "checkpoints",
    "command.txt",
    "config.json",
    "details.json",
    "environment.json",
    "log.txt",
    "metrics.jsonl",
    "report.html",
    "report.json",
    "report.md",
    "run.lock",
    "student",
]


def test_the_names_in_a_run_directory(toy_folder: Path) -> None:
    """Frozen: other people's scripts read them. Pictures come where matplotlib is installed."""
    run = reference(toy_folder)
    assert sorted(path.name for path in run.iterdir() if path.name != "plots") == RUN_FILES
    if importlib.util.find_spec("matplotlib") is not None:
        plots = {f"{name}.{kind}" for name in ("curves", "map", "retrieval", "similarity") for kind in ("png", "svg")}
        assert {path.name for path in (run / "plots").iterdir()} == plots
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-15", "step-16", "step-8"]
    checkpoint = run / "checkpoints" / "step-16"
    files = sorted(path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*") if path.is_file())
    assert files == CHECKPOINT_FILES
    assert {
        "step",
        "epoch",
        "loss",
        "lr",
        "grad_norm",
        "texts",
        "texts_per_s",
        "tokens_per_s",
        "padding",
        "waited",
        "seconds",
    } == {key for line in (run / "metrics.jsonl").read_text().splitlines() for key in json.loads(line)} - {
        "evaluation",
        "value",
        "best_step",
        "vectors",
    }


def test_the_first_loss_after_a_resume_is_that_of_the_uninterrupted_run(toy_folder: Path, tmp_path: Path) -> None:
    """Bit for bit, with dropout on: weights, optimizer, order of data and random numbers are all back."""
    run = copy_of_interrupted(toy_folder, tmp_path / "run")
    assert json.loads((run / "config.json").read_text())["model"]["student"]["dropout"] == 0.1
    assert max(losses(run)) == 10
    assert main(["train", "--resume", str(run)]) == 0
    assert "resuming from" in (run / "log.txt").read_text()
    assert losses(run)[10] == losses(reference(toy_folder))[10]
    assert_same_run(run, reference(toy_folder))


def test_dropout_is_what_the_test_above_thinks_it_is(toy_folder: Path, tmp_path: Path) -> None:
    """Other random numbers give another loss; else equal losses would say nothing about them."""
    run = copy_of_interrupted(toy_folder, tmp_path / "run")
    path = run / "checkpoints" / "step-9" / "random.json"
    states = json.loads(path.read_text())
    other = json.loads((run / "checkpoints" / "step-8" / "random.json").read_text())
    assert states != other
    path.write_text(json.dumps(other))
    seal(path.parent)
    assert main(["train", "--resume", str(run)]) == 0
    assert losses(run)[10] != losses(reference(toy_folder))[10]


def test_a_moved_run_directory_goes_on(toy_folder: Path, tmp_path: Path) -> None:
    before = copy_of_interrupted(toy_folder, tmp_path / "before")
    (tmp_path / "elsewhere").mkdir()
    run = before.rename(tmp_path / "elsewhere" / "after")
    assert main(["train", "--resume", str(run)]) == 0
    assert not before.exists()
    assert_same_run(run, reference(toy_folder))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("student/model.safetensors", flip),
        ("optimizer.safetensors", cut),
        ("random.json", Path.unlink),
        ("manifest.json", lambda path: path.write_bytes(bytes(100))),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    toy_folder: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    run = copy_of_interrupted(toy_folder, tmp_path / "run")
    damage(run / "checkpoints" / "step-9" / name)
    assert main(["train", "--resume", str(run)]) == 0
    log = (run / "log.txt").read_text()
    assert f"skipping the checkpoint {run / 'checkpoints' / 'step-9'}: {name}" in log
    assert f"resuming from {run / 'checkpoints' / 'step-8'}" in log
    assert_same_run(run, reference(toy_folder))


def test_no_checkpoint_that_verifies_is_never_a_silent_restart(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy_of_interrupted(toy_folder, tmp_path / "run")
    checkpoints = sorted((run / "checkpoints").iterdir())
    for checkpoint in checkpoints:
        (checkpoint / "state.json").unlink()
    before = (run / "metrics.jsonl").read_bytes(), (run / "config.json").read_bytes()
    assert main(["train", "--resume", str(run)]) == 2
    error = capsys.readouterr().err
    assert f"none of the {len(checkpoints)} checkpoints" in error
    assert all(f"skipping the checkpoint {checkpoint}: state.json is missing" in error for checkpoint in checkpoints)
    assert before == ((run / "metrics.jsonl").read_bytes(), (run / "config.json").read_bytes())


@pytest.mark.parametrize(
    "fault", ["step:2", slow("encode.teacher:1"), slow("encode.testing the before:1"), "save.mid_write:1"]
)
def test_a_run_killed_before_its_first_checkpoint_starts_afresh_and_says_so(
    toy_folder: Path, tmp_path: Path, fault: str
) -> None:
    run = tmp_path / "run"
    arguments = survival_command(toy_folder, run=run)
    assert run_to_end(arguments, output=tmp_path / "out.txt", fault=fault) == -9
    assert main(arguments) == 0
    assert "ended before its first checkpoint; it starts from the beginning" in (run / "log.txt").read_text()
    assert_same_run(run, reference(toy_folder))


@pytest.mark.parametrize("left", [[], ["run.lock"], ["run.lock", "log.txt", ".config.json.4711"]])
def test_a_run_killed_before_it_wrote_its_configuration_starts_afresh(
    toy_folder: Path, tmp_path: Path, left: list[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in left:
        (run / name).write_text("")
    assert main([*survival_command(toy_folder, run=run), "trainer.max_steps=1"]) == 0
    assert (run / "student").is_dir()


def test_a_folder_of_something_else_is_refused(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "holiday.jpg").write_text("")
    assert main(survival_command(toy_folder, run=tmp_path)) == 2
    assert "holiday.jpg" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["step:1", slow("step:5"), "step:8", slow("step:9"), "step:16"])
def test_ended_in_a_step_and_resumed(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """In the first step, mid epoch, in the last step of an epoch, in the first of the next, in the last of all."""
    run = tmp_path / "run"
    arguments = survival_command(toy_folder, run=run)
    assert run_with_fault(monkeypatch, f"{fault}:SIGTERM", arguments) == 143
    assert main(arguments) == 0
    assert_same_run(run, reference(toy_folder))


def test_ended_before_the_first_step_and_resumed(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of step 0: no optimizer state yet, and the first evaluation still to come."""
    run = tmp_path / "run"
    arguments = survival_command(toy_folder, run=run)
    assert run_with_fault(monkeypatch, "evaluation:1:SIGTERM", arguments) == 143
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-0"]
    assert main(arguments) == 0
    assert_same_run(run, reference(toy_folder))


def test_a_finished_run_can_be_started_again(toy_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(reference(toy_folder), tmp_path / "run"))
    shutil.rmtree(run / "student")
    assert main(["train", "--resume", str(run)]) == 0
    assert "all of these steps were done before" in (run / "log.txt").read_text()
    assert_same_run(run, reference(toy_folder))


def test_more_epochs_may_be_asked_for(toy_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(reference(toy_folder), tmp_path / "run"))
    assert main(["train", "--resume", str(run), "trainer.epochs=3"]) == 0
    assert max(losses(run)) == STEPS * 3 // 2


def test_fewer_steps_may_be_asked_for(toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before the first evaluation: the run then ends with one."""
    run = tmp_path / "run"
    arguments = survival_command(toy_folder, run=run)
    assert run_with_fault(monkeypatch, "step:4:SIGTERM", arguments) == 143
    assert main(["train", "--resume", str(run), "trainer.max_steps=2"]) == 0
    assert sorted(evaluations(run)) == [0, 4]
    assert (run / "student" / "model.safetensors").is_file()


def test_patience_survives(toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a learning rate that changes nothing, the first evaluation after training is the best one."""
    more = ["optimizer.lr=1e-12", "trainer.evaluate_every=2", "trainer.patience=3"]
    whole = tmp_path / "whole"
    assert main([*survival_command(toy_folder, run=whole), *more]) == 0
    assert sorted(evaluations(whole)) == [0, 2, 4, 6, 8]
    run = tmp_path / "run"
    arguments = [*survival_command(toy_folder, run=run), *more]
    assert run_with_fault(monkeypatch, "step:7:SIGTERM", arguments) == 143
    assert main(arguments) == 0
    assert_same_run(run, whole)
    assert "early stopping after 3 evaluations" in (run / "log.txt").read_text()


def test_a_line_that_a_kill_cut_short_is_dropped(toy_folder: Path, tmp_path: Path) -> None:
    run = copy_of_interrupted(toy_folder, tmp_path / "run")
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 11, "los\xff')
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_run(run, reference(toy_folder))


def test_any_locale_time_zone_and_path(toy_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Übung = 1, 練習"
    folder.mkdir()
    shutil.copytree(toy_folder / "teacher", folder / "teacher")
    shutil.copy(toy_folder / "data.tsv", folder / "data.tsv")
    run = folder / "lauf é=2"
    arguments = survival_command(folder, run=run)
    environment = os.environ | {"LC_ALL": "C", "TZ": "Asia/Kathmandu", "MLEMBED_FAULT": "step:5:SIGTERM"}
    command = [sys.executable, "-m", "mlembed", *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert ended.returncode == 143, ended.stderr.decode(errors="replace")
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_run(run, reference(toy_folder))
