"""Two processes that train together survive what one does, and end together where they cannot go on.

They are started as torchrun starts them, but from a server that has torch loaded, and without torchrun's own process,
which would end one of them when the other has failed. `test_torchrun` has what torchrun does.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import resource
import shutil
import signal
from pathlib import Path

import pytest
from crashes import assert_same_run, evaluations, losses, records, survival_command, wait_until_stopped
from label_toys import label_folder, label_survival_command
from ranks import Ranks, run_both
from soaking import LEARNS, STAGES, UNEVEN, newest_whole
from test_faults import limit_files, spoiled_command
from test_trackers import events, needs

pytestmark = pytest.mark.slow


def command(toys: Path, *, run: Path) -> list[str]:
    """8 steps in 2 epochs, with checkpoints at 2, 4, 6 and 8; one process has no batch in the last step of each."""
    return [*survival_command(toys, run=run), *UNEVEN]


@functools.cache
def reference(toys: Path) -> Path:
    """The run that nothing interrupted, made once, with a tracker, which changes no weight."""
    run = toys / "reference-of-two"
    tracker = ["trackers.use=tensorboard"] if importlib.util.find_spec("tensorboard") else []
    run_both([*command(toys, run=run), *tracker], output=toys / "reference-of-two.txt")
    return run


def kill_in_a_save(arguments: list[str], *, run: Path, output: Path, fault: str) -> None:
    """Both are killed while the first one stands within a save, and the other waits for it."""
    with Ranks(arguments, output=output, faults=(f"{fault}:SIGSTOP", None)) as ranks:
        wait_until_stopped(ranks.processes[0])
        ranks.kill()
        assert ranks.codes() == [-signal.SIGKILL] * 2
    assert not (run / "student").exists()


@functools.cache
def killed(toys: Path) -> Path:
    """The same run, killed within the save of step 6; go on with copies of it."""
    run = toys / "killed-of-two"
    arguments = command(toys, run=run)
    kill_in_a_save(arguments, run=run, output=toys / "killed-of-two.txt", fault="save.mid_write:3")
    return run


@pytest.fixture
def run(toy_folder: Path, tmp_path: Path) -> Path:
    """A run of two processes that were killed; its newest checkpoint is of step 4, the one before of step 2."""
    found = Path(shutil.copytree(killed(toy_folder), tmp_path / "run"))
    assert newest_whole(found) == 4 and (found / "checkpoints" / "step-2").exists()
    return found


def resume(run: Path, *more: str) -> list[str]:
    return ["train", "--resume", str(run), *more]


def test_killed_inside_a_save_and_resumed(toy_folder: Path, run: Path, tmp_path: Path) -> None:
    run_both(resume(run), output=tmp_path / "out.txt")
    assert_same_run(run, reference(toy_folder))


def test_with_labels_and_a_teacher_that_learns(tmp_path: Path) -> None:
    folder, output = label_folder(tmp_path / "toys"), tmp_path / "out.txt"
    whole, run = tmp_path / "whole", tmp_path / "run"
    run_both(label_survival_command(folder, run=whole, more=LEARNS), output=output)
    arguments = label_survival_command(folder, run=run, more=LEARNS)
    # The last of all: each stage has three, at its evaluations, or in steps 3, 6 and 7.
    kill_in_a_save(arguments, run=run, output=output, fault="save.before_rename:9")
    assert newest_whole(run) is not None
    run_both(arguments, output=output)
    for stage in STAGES:
        assert losses(run / stage) == losses(whole / stage)
        assert evaluations(run / stage) == evaluations(whole / stage)
    assert_same_run(run, whole)


def test_a_damaged_checkpoint_is_named_once_and_the_one_before_is_taken(
    toy_folder: Path, run: Path, tmp_path: Path
) -> None:
    victim = run / "checkpoints" / "step-4" / "optimizer.safetensors"
    victim.write_bytes(victim.read_bytes()[:-7])
    said = run_both(resume(run), output=tmp_path / "out.txt")
    assert said.count(f"skipping the checkpoint {victim.parent}: {victim.name}") == 1
    assert f"resuming from {run / 'checkpoints' / 'step-2'}" in said
    assert_same_run(run, reference(toy_folder))


def files_of(run: Path) -> dict[Path, bytes]:
    """What must be left as it is by a start that is refused."""
    return {
        path: path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name not in ("log.txt", "run.lock")
    }


def test_no_checkpoint_that_verifies_is_never_a_silent_restart(run: Path, tmp_path: Path) -> None:
    for checkpoint in (run / "checkpoints").glob("step-*"):
        (checkpoint / "state.json").unlink()
    before = files_of(run)
    with Ranks(resume(run), output=tmp_path / "out.txt") as ranks:
        assert ranks.codes() == [2, 2]
        assert ranks.said().count("none of the 2 checkpoints") == 1, ranks.said()
    assert files_of(run) == before


@pytest.mark.parametrize("what", ["settings", "data"])
def test_a_change_is_refused_once(toy_folder: Path, run: Path, tmp_path: Path, what: str) -> None:
    more = ["optimizer.lr=5e-4"] if what == "settings" else []
    if what == "settings":
        said = "optimizer.lr: was 0.001, is now 0.0005"
    else:
        said = "training data ("
        other = tmp_path / "data.tsv"
        other.write_bytes((toy_folder / "data.tsv").read_bytes().replace(b"cat", b"cow"))
        stored = json.loads((run / "config.json").read_text())
        stored["data"]["train"] = str(other)
        (run / "config.json").write_text(json.dumps(stored))
    before = files_of(run)
    with Ranks(resume(run, *more), output=tmp_path / "out.txt") as ranks:
        assert ranks.codes() == [2, 2], ranks.said()
        assert ranks.said().count(said) == 1, ranks.said()
    assert files_of(run) == before


def test_patience_survives(toy_folder: Path, tmp_path: Path) -> None:
    """With a learning rate that changes nothing, the first evaluation after training is the best one."""
    more = ["optimizer.lr=1e-12", "trainer.evaluate_every=1", "trainer.patience=3"]
    run, output = tmp_path / "run", tmp_path / "out.txt"
    arguments = [*command(toy_folder, run=run), *more]
    kill_in_a_save(arguments, run=run, output=output, fault="save.start:3")
    said = run_both(arguments, output=output)
    assert sorted(evaluations(run)) == [0, 1, 2, 3, 4]
    assert sorted(losses(run)) == [1, 2, 3, 4]
    assert said.count("early stopping after 3 evaluations") == 1


def test_a_full_disk(toy_folder: Path, tmp_path: Path) -> None:
    """From step 3 on, for the first process: three saves fail, and all end; when they go on, there is room."""
    run, output = tmp_path / "run", tmp_path / "out.txt"
    arguments = command(toy_folder, run=run)
    with Ranks(arguments, output=output, faults=("step:3:SIGSTOP", None)) as ranks:
        wait_until_stopped(ranks.processes[0])
        limit_files(ranks.processes[0].pid, 20_000)
        ranks.send(signal.SIGCONT, rank=0)
        assert ranks.codes() == [4, 4], ranks.said()
        said = ranks.said()
    assert said.count("saving failed 3 times in a row") == 1, said
    assert "Traceback" not in said
    assert newest_whole(run) == 2
    run_both(arguments, output=output)
    assert_same_run(run, reference(toy_folder))


def test_a_disk_that_is_full_for_a_while(toy_folder: Path, tmp_path: Path) -> None:
    run, output = tmp_path / "run", tmp_path / "out.txt"
    with Ranks(command(toy_folder, run=run), output=output, faults=("step:3:SIGSTOP,step:5:SIGSTOP", None)) as ranks:
        for limit in (20_000, resource.RLIM_INFINITY):
            wait_until_stopped(ranks.processes[0])
            limit_files(ranks.processes[0].pid, limit)
            ranks.send(signal.SIGCONT, rank=0)
        assert ranks.codes() == [0, 0], ranks.said()
        assert ranks.said().count("THE CHECKPOINT OF STEP 4 WAS NOT WRITTEN") == 1, ranks.said()
    assert losses(run) == losses(reference(toy_folder))


def test_a_batch_that_is_not_finite_in_one_process_is_skipped_by_both(toy_folder: Path, tmp_path: Path) -> None:
    said = run_both([*spoiled_command(toy_folder, tmp_path, lines=1), *UNEVEN], output=tmp_path / "out.txt")
    run = tmp_path / "run"
    skipped = [record for record in records(run) if "skipped" in record]
    assert len(skipped) == 2 and all(record["loss"] is None for record in skipped)
    assert json.loads((run / "report.json").read_text())["metadata"]["skipped_steps"] == 2
    assert said.count("is skipped: loss or gradient is not finite") == 2
    assert [step for step, loss in losses(run).items() if loss is None] == [record["step"] for record in skipped]


@pytest.mark.parametrize("rank", [0, 1])
def test_out_of_memory_in_one_process_ends_both_in_words(toy_folder: Path, tmp_path: Path, rank: int) -> None:
    run, output = tmp_path / "run", tmp_path / "out.txt"
    faults = ["backward:3:MemoryError" if at == rank else None for at in range(2)]
    with Ranks(command(toy_folder, run=run), output=output, faults=faults) as ranks:
        codes, said = ranks.codes(), ranks.said()
    assert codes[rank] == 4 and 0 not in codes, said
    assert said.count("mlembed: out of memory with a batch of") == 1, said
    assert f"Process {rank} of 2 ends" in said and "Resume with half of trainer.batch_tokens" in said
    assert "Traceback" not in said, said
    assert said.count("another process of this run has ended") == 1, said


def test_a_second_group_on_the_same_directory_is_refused(toy_folder: Path, tmp_path: Path) -> None:
    run, output = tmp_path / "run", tmp_path / "out.txt"
    arguments = command(toy_folder, run=run)
    with Ranks(arguments, output=output, faults=("step:5:SIGSTOP", None)) as first:
        wait_until_stopped(first.processes[0])
        with Ranks(arguments, output=tmp_path / "second.txt") as second:
            assert second.codes() == [2, 2], second.said()
            assert second.said().count(f"in use by process {first.processes[0].pid}") == 1, second.said()
        first.send(signal.SIGCONT, rank=0)
        assert first.codes() == [0, 0], first.said()
    assert_same_run(run, reference(toy_folder))


def test_a_student_of_no_use_ends_both(toy_folder: Path, tmp_path: Path) -> None:
    """At the same evaluation, after a checkpoint; the first process alone tells it."""
    run = tmp_path / "run"
    more = ["optimizer.lr=1.0", "trainer.evaluate_every=3", "trainer.on_collapse=stop"]
    with Ranks([*command(toy_folder, run=run), *more], output=tmp_path / "out.txt") as ranks:
        assert ranks.codes() == [1, 1], ranks.said()
        said = ranks.said()
    assert said.count("ALARM at step") == said.count("mlembed: trainer.on_collapse=stop: the student") == 1, said
    assert max(evaluations(run)) == max(losses(run)) == newest_whole(run)
    assert not (run / "student").exists()


def test_the_first_process_alone_makes_the_page(toy_folder: Path) -> None:
    run = reference(toy_folder)
    assert (toy_folder / "reference-of-two.txt").read_text().count(f"the page: {run / 'report.html'}") == 1
    assert "retrieval" in (run / "report.html").read_text(encoding="utf-8")


@needs("tensorboard")
def test_the_first_process_alone_tells_trackers(toy_folder: Path) -> None:
    """Each step once."""
    told = events(reference(toy_folder) / "tensorboard").Scalars("train/loss")
    assert [one.step for one in told] == list(range(1, 9))
    expected = losses(reference(toy_folder))
    assert [one.value for one in told] == pytest.approx([expected[one.step] for one in told], rel=1e-5)
