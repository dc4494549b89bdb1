"""Runs that are killed, signaled, or stand in one another's way, each in a process of its own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from crashes import (
    STEPS,
    assert_same_run,
    copy_of_interrupted,
    evaluations,
    go_on,
    losses,
    reference,
    run_to_end,
    slow,
    start,
    survival_command,
    wait_until,
    wait_until_stopped,
)

from mlembed.cli import main


def kill_at_random(folder: Path, run: Path, *, kills: int, seed: int) -> int:
    """Kill a run at random moments, start it again each time, and let the last one end; returns how often it lived on.

    A run that nobody kills would end in the time that the moments are drawn from.
    """
    generator = random.Random(seed)
    arguments = survival_command(folder, run=run)
    output = run.with_suffix(".txt")
    survived = 0
    for _ in range(kills):
        process = start(arguments, output=output)
        process.join(generator.uniform(0.3, 4.0))
        survived += process.exitcode == 0
        process.kill()
        process.join()
    assert run_to_end(arguments, output=output) == 0, output.read_text(encoding="utf-8")
    return survived


def test_killed_at_random_moments(toy_folder: Path, tmp_path: Path) -> None:
    kill_at_random(toy_folder, tmp_path / "run", kills=4, seed=1)
    assert_same_run(tmp_path / "run", reference(toy_folder))


@pytest.mark.slow
def test_killed_at_twenty_random_moments(toy_folder: Path, tmp_path: Path) -> None:
    kill_at_random(toy_folder, tmp_path / "run", kills=20, seed=2)
    assert_same_run(tmp_path / "run", reference(toy_folder))


# Beside the first save those of step 9 (the 4th), and of step 8 with its evaluation.
SAVE_POINTS = [
    "save.start:4",
    "save.mid_write:4",
    "save.before_manifest:4",
    "save.before_rename:4",
    "save.after_rename:4",
    "save.before_rotation:4",
    "save.mid_rotation:1",
]


@pytest.mark.parametrize("point", SAVE_POINTS)
def test_killed_inside_a_save(toy_folder: Path, tmp_path: Path, point: str) -> None:
    run = tmp_path / "run"
    arguments = survival_command(toy_folder, run=run)
    assert run_to_end(arguments, output=tmp_path / "out.txt", fault=point) == -signal.SIGKILL
    assert main(arguments) == 0
    assert_same_run(run, reference(toy_folder))
    assert not [path for path in (run / "checkpoints").iterdir() if path.name.startswith(".")]


def test_killed_while_a_checkpoint_is_replaced(toy_folder: Path, tmp_path: Path) -> None:
    """The first evaluation after training is interrupted, so that step 8 is saved without it, and then with it."""
    run = tmp_path / "run"
    arguments = [*survival_command(toy_folder, run=run), "trainer.save_every=null"]
    output = tmp_path / "out.txt"
    assert run_to_end(arguments, output=output, fault="evaluation:2:SIGTERM") == 128 + signal.SIGTERM
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-8"]
    assert run_to_end(arguments, output=output, fault="save.between_renames") == -signal.SIGKILL
    assert main(arguments) == 0
    assert losses(run) == losses(reference(toy_folder))
    assert evaluations(run) == evaluations(reference(toy_folder))


@pytest.mark.parametrize(
    "fault", [slow("backward:1"), "backward:13", "backward:16", slow("evaluation:3"), "encode.testing the student"]
)
def test_killed_in_the_first_step_mid_accumulation_and_at_the_end(toy_folder: Path, tmp_path: Path, fault: str) -> None:
    """Two batches to a step: the 16th batch is the second one of the last step."""
    run, whole = tmp_path / "run", toy_folder / "accumulated"
    more = ["trainer.accumulate=2", "trainer.save_every=2"]
    if not whole.exists():
        assert main([*survival_command(toy_folder, run=whole), *more]) == 0
    arguments = [*survival_command(toy_folder, run=run), *more]
    assert run_to_end(arguments, output=tmp_path / "out.txt", fault=fault) == -signal.SIGKILL
    assert main(arguments) == 0
    assert len(losses(run)) == STEPS // 2
    assert_same_run(run, whole)


def test_two_processes_on_one_directory(toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    arguments = survival_command(toy_folder, run=run)
    first = start(arguments, output=tmp_path / "out.txt", fault="step:5:SIGSTOP")
    wait_until_stopped(first)
    assert main(arguments) == 2
    assert f"in use by process {first.pid}" in capsys.readouterr().err
    go_on(first)
    first.join()
    assert first.exitcode == 0
    assert_same_run(run, reference(toy_folder))


def test_the_lock_of_a_dead_process_is_taken_over(toy_folder: Path, tmp_path: Path) -> None:
    run = copy_of_interrupted(toy_folder, tmp_path / "run")
    assert (run / "run.lock").read_text().startswith("process ")
    assert main(["train", "--resume", str(run)]) == 0


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_second_signal_ends_at_once(name: str, code: int) -> None:
    program = (
        "import os, signal, time\n"
        "from mlembed.signals import StopRequest\n"
        "with StopRequest():\n"
        f"    os.kill(os.getpid(), signal.{name})\n"
        "    print('goes on', flush=True)\n"
        f"    os.kill(os.getpid(), signal.{name})\n"
        "    time.sleep(30)\n"
    )
    started = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == code
    assert ended.stdout == "goes on\n"
    assert "a second signal ends at once" in ended.stderr
    assert time.monotonic() - started < 10


def test_a_signal_that_torchrun_passes_on_is_the_same_one() -> None:
    """Where a scheduler signals all processes of a job, each worker gets it twice within a moment."""
    program = (
        "import os, signal, time\n"
        "from mlembed import signals\n"
        "signals.ECHO_SECONDS = 0.5\n"
        "with signals.StopRequest():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('goes on', flush=True)\n"
        "    time.sleep(0.6)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('too far')\n"
    )
    environment = os.environ | {"TORCHELASTIC_RUN_ID": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (143, "goes on\n")


def test_a_signal_from_outside_ends_a_run_that_can_be_resumed(toy_folder: Path, tmp_path: Path) -> None:
    """As `kill` does it: not at a point of our choice, and to a process that is busy."""
    run = tmp_path / "run"
    arguments = survival_command(toy_folder, run=run)
    process = start(arguments, output=tmp_path / "out.txt", fault="step:7:SIGSTOP")
    wait_until_stopped(process)
    process.terminate()
    go_on(process)
    process.join()
    assert process.exitcode == 128 + signal.SIGTERM
    assert (run / "checkpoints" / "step-7").is_dir()
    wait_until(lambda: not process.is_alive())
    assert main(arguments) == 0
    assert_same_run(run, reference(toy_folder))
