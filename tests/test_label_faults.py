"""What runs for embeddings survive (test_faults, test_resume): with labels, and with a teacher that learns."""

from __future__ import annotations

import functools
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from crashes import go_on, run_to_end, slow, start, wait_until_stopped
from label_toys import STAGE_STEPS, label_folder, label_survival_command
from soaking import LEARNS, fill_disk
from test_label_resume import assert_same_stages, whole
from test_resume import cut, flip

from mlembed.cli import main

# Killed in the ninth step of the distillation; its newest checkpoints are of steps 6 and 3.
KILL = f"step:{2 * STAGE_STEPS + 9}"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return label_folder(tmp_path_factory.mktemp("labels"))


@functools.cache
def interrupted(folder: Path, *more: str) -> Path:
    """A run that was killed; do not go on with it, but with a copy."""
    run = folder / f"interrupted-{len(more)}"
    command = label_survival_command(folder, run=run, more=more)
    assert run_to_end(command, output=folder / "interrupted.txt", fault=KILL) == -9
    return run


@pytest.mark.parametrize(
    ("more", "name", "damage"),
    [
        slow((), "student/model.safetensors", flip),
        slow((), "optimizer.safetensors", cut),
        slow(LEARNS, "student/model.safetensors", Path.unlink),
        (LEARNS, "teacher/model.safetensors", flip),
        slow(LEARNS, "state.json", lambda path: path.write_bytes(bytes(100))),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    folder: Path, tmp_path: Path, more: tuple[str, ...], name: str, damage: Callable[[Path], None]
) -> None:
    """F3."""
    run = Path(shutil.copytree(interrupted(folder, *more), tmp_path / "run"))
    damage(run / "checkpoints" / "step-6" / name)
    assert main(["train", "--resume", str(run)]) == 0
    log = (run / "log.txt").read_text()
    assert f"skipping the checkpoint {run / 'checkpoints' / 'step-6'}: {name}" in log
    assert f"resuming from {run / 'checkpoints' / 'step-3'}" in log
    assert_same_stages(run, whole(folder, *more))


def test_no_checkpoint_that_verifies_is_never_a_silent_restart(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """F4: the teacher that learns would have been lost with the student."""
    run = Path(shutil.copytree(interrupted(folder, *LEARNS), tmp_path / "run"))
    for step in (3, 6):
        flip(run / "checkpoints" / f"step-{step}" / "teacher" / "model.safetensors")
    before = {path: path.read_bytes() for path in run.rglob("*.safetensors")}
    assert main(["train", "--resume", str(run)]) == 2
    error = capsys.readouterr().err
    assert "teacher/model.safetensors" in error and "Traceback" not in error
    assert {path: path.read_bytes() for path in run.rglob("*.safetensors")} == before


@pytest.mark.parametrize("more", [slow(()), LEARNS])
def test_a_moved_run_directory_goes_on(folder: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    """F10: the trained stages move with it."""
    run = Path(shutil.copytree(interrupted(folder, *more), tmp_path / "elsewhere" / "moved run"))
    assert main(["train", "--resume", str(run)]) == 0
    assert f"teacher: trained before, read from {run / 'teacher' / 'student'}" in (run / "log.txt").read_text()
    assert_same_stages(run, whole(folder, *more))


@pytest.mark.parametrize(
    ("more", "at"),
    [slow((), 5), slow((), STAGE_STEPS + 5), (LEARNS, 2 * STAGE_STEPS + 5), slow((), 2 * STAGE_STEPS + 5)],
)
def test_a_full_disk_in_any_stage_loses_nothing(folder: Path, tmp_path: Path, more: tuple[str, ...], at: int) -> None:
    """F13: the run ends and says so; with room on the disk it goes on as if nothing had happened."""
    run = tmp_path / "run"
    arguments = label_survival_command(folder, run=run, more=more)
    with_limit = start(arguments, output=tmp_path / "out.txt", fault=f"step:{at}:SIGSTOP")
    wait_until_stopped(with_limit)
    fill_disk([with_limit.pid])
    go_on(with_limit)
    with_limit.join()
    said = (tmp_path / "out.txt").read_text()
    assert with_limit.exitcode == 4 and "Traceback" not in said, said
    assert "Free some" in said and not (run / "student").exists()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert main(arguments) == 0
    assert_same_stages(run, whole(folder, *more))
