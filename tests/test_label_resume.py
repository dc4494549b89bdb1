"""A run with labels that was ended in any of its stages goes on as if nothing had happened, or says why it does not."""

from __future__ import annotations

import functools
import hashlib
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from crashes import assert_same_run, evaluations, losses, run_to_end, run_with_fault, slow
from label_toys import STAGE_STEPS, label_folder, label_survival_command
from safetensors.torch import load_file

from mlembed.cli import main

LEARNS = ("model.teacher.trainable=true", "optimizer.teacher_lr=1e-3")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return label_folder(tmp_path_factory.mktemp("labels"))


@functools.cache
def whole(folder: Path, *more: str) -> Path:
    """The run that nothing interrupted, made once."""
    run = folder / f"whole-{len(more)}"
    assert main(label_survival_command(folder, run=run, more=more)) == 0
    return run


def stage_hash(run: Path, stage: str) -> str:
    return hashlib.sha256((run / stage / "student" / "model.safetensors").read_bytes()).hexdigest()


def assert_same_stages(run: Path, expected: Path) -> None:
    assert_same_run(run, expected)
    for stage in ("teacher", "zero_shot"):
        assert stage_hash(run, stage) == stage_hash(expected, stage)
        assert losses(run / stage) == losses(expected / stage)
        assert evaluations(run / stage) == evaluations(expected / stage)
        assert sorted(path.name for path in (run / stage).iterdir()) == ["metrics.jsonl", "stage.json", "student"]


@pytest.mark.parametrize(
    ("fault", "trained_before"),
    [
        slow("step:2", []),
        slow("step:5", []),
        (f"step:{STAGE_STEPS + 1}", ["teacher"]),
        slow(f"step:{STAGE_STEPS + 5}", ["teacher"]),
        slow("encode.teacher:1", ["teacher", "zero_shot"]),
        slow(f"step:{2 * STAGE_STEPS + 2}", ["teacher", "zero_shot"]),
        slow(f"step:{2 * STAGE_STEPS + 5}", ["teacher", "zero_shot"]),
        slow("encode.testing the student:1", ["teacher", "zero_shot"]),
    ],
)
def test_a_run_that_was_killed_goes_on(folder: Path, tmp_path: Path, fault: str, trained_before: list[str]) -> None:
    run = tmp_path / "run"
    arguments = label_survival_command(folder, run=run)
    assert run_to_end(arguments, output=tmp_path / "out.txt", fault=fault) == -signal.SIGKILL
    times = {stage: (run / stage / "student" / "model.safetensors").stat().st_mtime_ns for stage in trained_before}
    assert main(["train", "--resume", str(run)]) == 0
    said = (run / "log.txt").read_text()
    for stage in ("teacher", "zero_shot"):
        assert (f"{stage}: trained before" in said) == (stage in trained_before)
    for stage, time in times.items():
        assert (run / stage / "student" / "model.safetensors").stat().st_mtime_ns == time
    assert_same_stages(run, whole(folder))


@pytest.mark.parametrize("at", [5, slow(STAGE_STEPS + 5), slow(2 * STAGE_STEPS + 5)])
def test_a_run_that_was_asked_to_end_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    run = tmp_path / "run"
    assert run_with_fault(monkeypatch, f"step:{at}:SIGTERM", label_survival_command(folder, run=run)) == 143
    stage = run / ("teacher", "zero_shot", "")[at // STAGE_STEPS]
    assert (stage / "checkpoints" / "step-5").is_dir()
    assert f"go on with: mlembed train --resume {run}" in (run / "log.txt").read_text()
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_stages(run, whole(folder))


def test_what_a_kill_leaves_of_a_finished_stage_is_cleared_away(folder: Path, tmp_path: Path) -> None:
    """Between the note that it is done and the end of its checkpoints."""
    run = Path(shutil.copytree(whole(folder), tmp_path / "run"))
    (run / "teacher" / "checkpoints" / "step-3").mkdir(parents=True)
    assert main(["train", "--resume", str(run)]) == 0
    assert not (run / "teacher" / "checkpoints").exists()


@pytest.mark.parametrize("at", [slow(5), STAGE_STEPS + 1, slow(2 * STAGE_STEPS + 5)])
def test_other_data_are_refused_and_nothing_is_trained_anew(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], at: int
) -> None:
    own = Path(shutil.copytree(folder, tmp_path / "own", ignore=shutil.ignore_patterns("whole*")))
    run = tmp_path / "run"
    arguments = label_survival_command(own, run=run)
    assert run_to_end(arguments, output=tmp_path / "out.txt", fault=f"step:{at}") == -signal.SIGKILL
    before = {path: path.read_bytes() for path in run.rglob("*.safetensors")}
    rows = (own / "train.tsv").read_text().splitlines()
    (own / "train.tsv").write_text("\n".join(rows[:-1]) + "\n")
    assert main(["train", "--resume", str(run)]) == 2
    error = capsys.readouterr().err
    assert "training data" in error and "became" in error and "run.allow_changes=true" in error
    assert {path: path.read_bytes() for path in run.rglob("*.safetensors")} == before
    assert main(["train", "--resume", str(run), "run.allow_changes=true"]) == 0
    assert len(losses(run / "teacher")) and len(losses(run / "zero_shot"))


@pytest.mark.parametrize("setting", ["seed=7", "task.fine_tuning.lr=1e-4"])
def test_other_settings_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    run = Path(shutil.copytree(whole(folder), tmp_path / "run"))
    assert main(["train", "--resume", str(run), setting]) == 2
    assert f"{setting.partition('=')[0]}: was " in capsys.readouterr().err


def test_other_fine_tuning_that_is_allowed_trains_the_stages_anew(folder: Path, tmp_path: Path) -> None:
    """A permission that changes nothing would be a lie."""
    run = Path(shutil.copytree(whole(folder), tmp_path / "run"))
    shutil.rmtree(run / "checkpoints")
    before = {path: path.read_bytes() for path in run.rglob("student/*.safetensors")}
    changed = ["task.fine_tuning.lr=1e-4", "run.allow_changes=true"]
    assert main(["train", *label_survival_command(folder, run=run)[1:], *changed]) == 0
    for stage in ("teacher", "zero_shot"):
        weights = run / stage / "student" / "model.safetensors"
        assert weights.read_bytes() != before[weights]


@pytest.mark.parametrize("learning", [slow(False), True])
def test_the_first_loss_after_a_resume(folder: Path, tmp_path: Path, learning: bool) -> None:
    """Of a frozen teacher and of one that learns, bit for bit."""
    more = LEARNS if learning else ()
    run = tmp_path / "run"
    arguments = label_survival_command(folder, run=run, more=more)
    fault = f"step:{2 * STAGE_STEPS + 8}"
    assert run_to_end(arguments, output=tmp_path / "out.txt", fault=fault) == -signal.SIGKILL
    assert max(losses(run)) == 7
    assert [(path / "teacher").is_dir() for path in (run / "checkpoints").iterdir()] == [learning] * 2
    assert main(["train", "--resume", str(run)]) == 0
    assert losses(run)[7] == losses(whole(folder, *more))[7]
    assert_same_stages(run, whole(folder, *more))


def weights_after(run: Path, model: str) -> dict[str, Any]:
    newest = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name.removeprefix("step-")))
    found: dict[str, Any] = load_file(newest / model / "model.safetensors")
    return found


def moved(run: Path, model: str, start: Path) -> float:
    """How far a model's weights are from its start, at most."""
    first, last = load_file(start / "model.safetensors"), weights_after(run, model)
    return max(float((last[name] - value).abs().max()) for name, value in first.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rates", "teacher_moves", "student_moves"),
    [(("1e-3", "1e-20"), False, True), (("1e-20", "1e-3"), True, False), (("1e-3", "1e-3"), True, True)],
)
def test_teacher_and_student_learn_at_their_own_rates(
    folder: Path, tmp_path: Path, rates: tuple[str, str], teacher_moves: bool, student_moves: bool
) -> None:
    run = tmp_path / "run"
    more = (f"optimizer.lr={rates[0]}", "model.teacher.trainable=true", f"optimizer.teacher_lr={rates[1]}")
    assert main(label_survival_command(folder, run=run, more=(*more, "optimizer.weight_decay=0"))) == 0
    assert (moved(run, "teacher", run / "teacher" / "student") > 1e-4) == teacher_moves
    assert (moved(run, "student", run / "zero_shot" / "student") > 1e-4) == student_moves
