"""Signals, a full disk, and numbers that are not finite: a run ends well, or goes on, and says what happened."""

from __future__ import annotations

import json
import resource
import shutil
import signal
from pathlib import Path

import pytest
import torch
from crashes import (
    STEPS,
    assert_same_run,
    evaluations,
    go_on,
    losses,
    records,
    reference,
    run_to_end,
    run_with_fault,
    slow,
    start,
    survival_command,
    wait_until_stopped,
)
from safetensors.torch import load_file, save_file
from toys import translate

from mlembed.cli import main

UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest.mark.parametrize(
    ("fault", "checkpoints"),
    [
        ("step:5:SIGINT", ["step-3", "step-5"]),
        ("backward:11:SIGTERM", ["step-11", "step-8", "step-9"]),
        ("evaluation:2:SIGTERM", ["step-6", "step-8"]),
        ("encode.validation:6:SIGINT", ["step-6", "step-8"]),
        slow("save.mid_write:2:SIGTERM", ["step-6", "step-7"]),
        ("save.before_rename:3:SIGINT", ["step-8", "step-9"]),
        # Before there is anything to keep; the run then starts from the beginning.
        slow("encode.teacher:1:SIGTERM", []),
        ("encode.testing the before:1:SIGINT", []),
        # After the last step: all is there.
        ("encode.testing the student:1:SIGTERM", ["step-15", "step-16", "step-8"]),
    ],
)
def test_a_signal_ends_a_run_that_can_be_resumed(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, checkpoints: list[str]
) -> None:
    run = tmp_path / "run"
    arguments = survival_command(toy_folder, run=run)
    code = 128 + signal.Signals[fault.rpartition(":")[2]]
    assert run_with_fault(monkeypatch, fault, arguments) == code
    assert sorted(path.name for path in run.glob("checkpoints/*")) == checkpoints
    assert f"go on with: mlembed train --resume {run}" in (run / "log.txt").read_text()
    assert main(arguments) == 0
    assert_same_run(run, reference(toy_folder))


def limit_files(pid: int, limit: int) -> None:
    """Let another process write no file beyond a size, as a full disk would."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def test_training_goes_on_while_the_disk_is_full(toy_folder: Path, tmp_path: Path) -> None:
    """The disk is full in steps 5 to 10: neither checkpoints (6, 8, 9) nor metrics can be written then."""
    run = tmp_path / "run"
    arguments = [*survival_command(toy_folder, run=run), "trainer.save_every=6"]
    process = start(arguments, output=tmp_path / "out.txt", fault="step:5:SIGSTOP,step:10:SIGSTOP")
    wait_until_stopped(process)
    written = (run / "metrics.jsonl").read_bytes()
    limit_files(process.pid, len(written) + 40)
    go_on(process)
    wait_until_stopped(process)
    assert (run / "metrics.jsonl").read_bytes()[: len(written)] == written
    assert [path.name for path in (run / "checkpoints").iterdir()] == []
    limit_files(process.pid, resource.RLIM_INFINITY)
    go_on(process)
    process.join()
    assert process.exitcode == 0
    said = (tmp_path / "out.txt").read_text()
    assert "THE CHECKPOINT OF STEP 6 WAS NOT WRITTEN" in said and "THE CHECKPOINT OF STEP 8 WAS NOT WRITTEN" in said
    assert "metrics.jsonl CANNOT BE WRITTEN" in said and "Traceback" not in said
    assert losses(run) == losses(reference(toy_folder))
    # The best evaluation was at step 8, but the run can end only with a student that was written.
    assert json.loads((run / "report.json").read_text())["metadata"]["best_step"] == 16


def test_a_disk_that_stays_full_ends_the_run_with_what_to_do(toy_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = survival_command(toy_folder, run=run)
    process = start(arguments, output=tmp_path / "out.txt", fault="step:5:SIGSTOP")
    wait_until_stopped(process)
    limit_files(process.pid, 20_000)
    go_on(process)
    process.join()
    assert process.exitcode == 4
    said = (tmp_path / "out.txt").read_text()
    assert "saving failed 3 times in a row" in said and "Free some disk space and resume." in said
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-3"]
    assert main(arguments) == 0
    assert_same_run(run, reference(toy_folder))


@pytest.mark.parametrize("fault", ["step:16:SIGSTOP", "encode.testing the student:1:SIGSTOP"])
def test_a_disk_that_is_full_at_the_end(toy_folder: Path, tmp_path: Path, fault: str) -> None:
    """Of the last checkpoint, or of the exported student."""
    run = tmp_path / "run"
    arguments = survival_command(toy_folder, run=run)
    process = start(arguments, output=tmp_path / "out.txt", fault=fault)
    wait_until_stopped(process)
    limit_files(process.pid, 20_000)
    go_on(process)
    process.join()
    said = (tmp_path / "out.txt").read_text()
    assert process.exitcode == 4 and "Traceback" not in said, said
    assert "resume" in said and not (run / "student").exists()
    assert main(arguments) == 0
    assert_same_run(run, reference(toy_folder))


EMBEDDINGS = "embeddings.word_embeddings.weight"
UNKNOWN = 1


def spoiled_model(model: Path, to: Path, *, row: int, value: float) -> Path:
    """A copy of a model whose embedding of one token has a value that spoils each vector that it is in."""
    folder = Path(shutil.copytree(model, to))
    tensors = load_file(folder / "model.safetensors")
    tensors[EMBEDDINGS][row] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def spoiled_command(toy_folder: Path, tmp_path: Path, *, lines: int) -> list[str]:
    """Training of a student that gives no finite vector for an unknown word, with data that has some of them."""
    student = spoiled_model(toy_folder / "teacher", tmp_path / "student", row=UNKNOWN, value=3e38)
    rows = (toy_folder / "data.tsv").read_text().splitlines()
    spoiled = [f"the cat sees a dog {at}\tunheardof\txx" for at in range(lines)]
    held_out = [f"a red {word} today\t{translate(f'a red {word} today', 'xx')}\txx" for word in ("cat", "dog", "bird")]
    for name, content in (("train", [*rows, *spoiled]), ("held_out", [rows[0], *held_out])):
        (tmp_path / f"{name}.tsv").write_text("\n".join(content) + "\n", encoding="utf-8")
    return [
        *survival_command(toy_folder, run=tmp_path / "run"),
        "model=pretrained",
        f"model.student.name={student}",
        "model.warm_start=none",
        f"data.train={tmp_path / 'train.tsv'}",
        f"data.validation={tmp_path / 'held_out.tsv'}",
        f"data.test={tmp_path / 'held_out.tsv'}",
        "data.min_words=0",
        # The sources have an unknown word too, but the student does not read them.
        "data.source_weight=0",
    ]


def test_a_batch_that_is_not_finite_is_skipped_counted_and_named(toy_folder: Path, tmp_path: Path) -> None:
    assert main(spoiled_command(toy_folder, tmp_path, lines=1)) == 0
    run = tmp_path / "run"
    skipped = [record for record in records(run) if "skipped" in record]
    assert len(skipped) == 2
    assert all(record["loss"] is None and f"{tmp_path / 'train.tsv'}:242" in record["skipped"] for record in skipped)
    assert json.loads((run / "report.json").read_text())["metadata"]["skipped_steps"] == 2
    assert (run / "log.txt").read_text().count("is skipped: loss or gradient is not finite") == 2
    assert all(bool(torch.isfinite(one).all()) for one in load_file(run / "student" / "model.safetensors").values())


def test_three_such_batches_in_a_row_end_the_run(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(spoiled_command(toy_folder, tmp_path, lines=2000)) == 1
    assert "not finite in 3 steps in a row" in capsys.readouterr().err
    run = tmp_path / "run"
    assert [record["loss"] for record in records(run) if "loss" in record][-3:] == [None] * 3
    assert sorted(evaluations(run)) == [0]


def test_a_teacher_vector_that_is_not_finite_is_named(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = spoiled_model(toy_folder / "teacher", tmp_path / "teacher", row=15, value=3e38)
    arguments = [*survival_command(toy_folder, run=tmp_path / "run"), f"model.teacher.name={teacher}"]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "the teacher gives vectors that are not finite" in error and "tree" in error


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_first_weights_that_are_not_finite_are_refused(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], role: str
) -> None:
    spoiled = spoiled_model(toy_folder / "teacher", tmp_path / "spoiled", row=UNKNOWN, value=float("nan"))
    more = ["model=pretrained", f"model.student.name={toy_folder / 'teacher'}", f"model.{role}.name={spoiled}"]
    assert main([*survival_command(toy_folder, run=tmp_path / "run"), *more]) == 1
    assert f"model.{role}" in capsys.readouterr().err


def test_weights_that_become_infinite_are_never_saved(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    more = ["optimizer=sgd", "optimizer.lr=1e38", "optimizer.max_grad_norm=null", "optimizer.warmup=0"]
    assert main([*survival_command(toy_folder, run=run), *more, "trainer.save_every=1"]) == 1
    assert "not finite" in capsys.readouterr().err
    for weights in run.glob("checkpoints/step-*/student/model.safetensors"):
        assert all(bool(torch.isfinite(one).all()) for one in load_file(weights).values())
    assert not (run / "student").exists()


def test_a_learnt_vocabulary_is_the_same_in_another_process(toy_folder: Path, tmp_path: Path) -> None:
    """The vocabulary of a transplanted student is learnt anew when a run goes on: it must not depend on chance."""
    run = tmp_path / "run"
    arguments = [*survival_command(toy_folder, run=run), "model=transplant", "model.vocabulary=replace"]
    assert run_to_end(arguments, output=tmp_path / "out.txt", fault="step:11") == -signal.SIGKILL
    assert main(arguments) == 0
    assert "resuming from" in (run / "log.txt").read_text()
    assert len(losses(run)) >= STEPS // 2
