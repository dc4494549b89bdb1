"""Two processes that train together: the same numbers as one, and the same survival."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crashes import MAX_SECONDS, evaluations, losses, records, survival_command, wait_until
from label_toys import label_command, label_folder, with_parallel, with_unlabelled, write_lively_model
from safetensors.torch import load_file
from soaking import workers

from mlembed.cli import main

# A plan of 7 batches an epoch: with two processes the last step of each epoch has one batch, and one process none.
UNEVEN = ["trainer.batch_tokens=300", "model.student.dropout=0", "trainer.save_every=2"]


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def torchrun(tmp_path: Path) -> Iterator[Start]:
    """Starts two processes, whose output goes to out.txt; none of them outlives the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(arguments: list[str], *, fault: str | None = None) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        environment = os.environ | ({} if fault is None else {"MLEMBED_FAULT": fault})
        with (tmp_path / "out.txt").open("ab") as file:
            started.append(
                subprocess.Popen(
                    [*command, "-m", "mlembed", *arguments],
                    stdout=file,
                    stderr=file,
                    env=environment,
                    start_new_session=True,
                )
            )
        return started[-1]

    yield start
    for process in started:
        for pid in [*workers(process.pid), process.pid] if process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)


def steps_done(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_text().count('"loss"') if path.exists() else 0


def assert_same_numbers(run: Path, expected: Path) -> None:
    """To 1e-4: the order of a sum differs."""
    assert losses(run) == pytest.approx(losses(expected), rel=1e-4)
    for step, means in evaluations(expected).items():
        assert evaluations(run)[step] == pytest.approx(means, rel=1e-4)
    wanted = load_file(expected / "student" / "model.safetensors")
    found = load_file(run / "student" / "model.safetensors")
    apart = {name: float((found[name] - value).abs().max()) for name, value in wanted.items()}
    # The same for all keys, their bias changes no attention: its gradient is rounding, of which AdamW makes steps.
    apart = {name: by for name, by in apart.items() if not name.endswith("attention.self.key.bias")}
    assert not {name: by for name, by in apart.items() if by >= 1e-4}


def test_two_processes_compute_what_one_does(toy_folder: Path, tmp_path: Path, torchrun: Start) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    process = torchrun([*survival_command(toy_folder, run=two), *UNEVEN])
    assert main([*survival_command(toy_folder, run=one), *UNEVEN, "trainer.accumulate=2"]) == 0
    assert process.wait(MAX_SECONDS) == 0, (tmp_path / "out.txt").read_text()
    texts = [record["texts"] for record in records(one) if "texts" in record]
    assert len(texts) == 8 and texts[3] < min(texts[:3])
    assert_same_numbers(two, one)
    assert (tmp_path / "out.txt").read_text().count("were in the store") == 1, "the first process tells it for both"


@pytest.mark.slow
def test_two_processes_share_the_store(toy_folder: Path, tmp_path: Path, own_cache: Path, torchrun: Start) -> None:
    """With a damaged shard, and with a cache folder that cannot be used: the first process sees to it for both."""
    output = tmp_path / "out.txt"
    arguments = survival_command(toy_folder, run=tmp_path / "one")
    assert torchrun(arguments).wait(MAX_SECONDS) == 0, output.read_text()
    victim, *others = sorted(own_cache.glob("teachers/*/*.vectors"), key=lambda path: -path.stat().st_size)
    assert len(others) == 3
    kept = victim.read_bytes()
    victim.write_bytes(kept[:-1] + b"x")
    assert torchrun(survival_command(toy_folder, run=tmp_path / "two")).wait(MAX_SECONDS) == 0, output.read_text()
    said = (tmp_path / "two" / "log.txt").read_text()
    assert said.count(f"{victim.name} is damaged: its checksum differs") == 1
    assert "80 texts encoded, 80 were in the store" in said
    assert victim.read_bytes() == kept
    assert_same_numbers(tmp_path / "two", tmp_path / "one")
    shutil.rmtree(own_cache)
    own_cache.write_text("a file")
    assert torchrun(survival_command(toy_folder, run=tmp_path / "three")).wait(MAX_SECONDS) == 0, output.read_text()
    said = (tmp_path / "three" / "log.txt").read_text()
    assert said.count("CANNOT BE KEPT") == 1 and "160 texts encoded" in said
    assert_same_numbers(tmp_path / "three", tmp_path / "one")


def test_a_sweep_is_refused_under_torchrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["train", "-m", "loss=mse,cosine", f"run.root={tmp_path}"]) == 2
    assert "-m cannot be used under torchrun" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_one_of_two_processes_is_killed(toy_folder: Path, tmp_path: Path, torchrun: Start, rank: int) -> None:
    """The group ends in 30 seconds and not with 0; it goes on in two processes, but not in one without permission."""
    run, whole, output = tmp_path / "run", tmp_path / "whole", tmp_path / "out.txt"
    arguments = [*survival_command(toy_folder, run=run), *UNEVEN]
    process = torchrun(arguments, fault="step:6:SIGSTOP")
    wait_until(lambda: steps_done(run) >= 5)
    time.sleep(1)
    pids = workers(process.pid)
    assert len(pids) == 2
    started = time.monotonic()
    os.kill(pids[rank], signal.SIGKILL)
    os.kill(pids[1 - rank], signal.SIGCONT)
    assert process.wait(30) != 0
    assert time.monotonic() - started < 30
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert main(arguments) == 2
    assert main([*survival_command(toy_folder, run=whole), *UNEVEN, "trainer.accumulate=2"]) == 0
    again = torchrun(arguments)
    assert again.wait(MAX_SECONDS) == 0, output.read_text()
    assert_same_numbers(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["torchrun", "one worker", "all"])
def test_a_signal_to_two_processes(toy_folder: Path, tmp_path: Path, torchrun: Start, whom: str) -> None:
    """Both end at the same step, with a checkpoint. Where all get the signal, torchrun passes it on a second time."""
    run, output = tmp_path / "run", tmp_path / "out.txt"
    arguments = [*survival_command(toy_folder, run=run), *UNEVEN]
    process = torchrun([*arguments, "trainer.epochs=400"])
    wait_until(lambda: steps_done(run) >= 5)
    if whom == "torchrun":
        process.terminate()
    elif whom == "one worker":
        os.kill(workers(process.pid)[1], signal.SIGTERM)
    else:
        for pid in [*workers(process.pid), process.pid]:
            os.kill(pid, signal.SIGTERM)
    assert process.wait(MAX_SECONDS) != 0
    said = output.read_text()
    assert "go on with: mlembed train --resume" in said, said
    newest = max(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").iterdir())
    assert newest == max(losses(run))
    assert losses(run).keys() == set(range(1, newest + 1))
    epochs = newest // 4 + 2
    assert torchrun([*arguments, f"trainer.epochs={epochs}"]).wait(MAX_SECONDS) == 0, output.read_text()
    assert losses(run).keys() == set(range(1, 4 * epochs + 1))


@pytest.mark.slow
def test_a_refused_run_says_so_once(toy_folder: Path, tmp_path: Path, torchrun: Start) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "holiday.jpg").write_text("")
    process = torchrun(survival_command(toy_folder, run=tmp_path / "run"))
    assert process.wait(MAX_SECONDS) != 0
    said = (tmp_path / "out.txt").read_text()
    assert said.count("is not empty and not a run directory") == 1, said


@pytest.mark.slow
@pytest.mark.parametrize("trainable", ["false", "true"])
def test_two_processes_learn_from_labels_as_one_does(tmp_path: Path, torchrun: Start, trainable: str) -> None:
    """In each stage, and in each term of the loss; batches are of both even and odd numbers."""
    folder, one, two = label_folder(tmp_path / "toys"), tmp_path / "one", tmp_path / "two"
    # What is dropped out differs from process to process.
    write_lively_model(folder / "teacher", dropout=0.0)
    more = [
        with_parallel(folder),
        with_unlabelled(folder),
        f"model.teacher.trainable={trainable}",
        "model=pretrained",
        f"model.student.name={folder / 'small'}",
        "task.batch_rows=11",
        "task.fine_tuning.epochs=2",
        "trainer.epochs=2",
    ]
    process = torchrun([*label_command(folder, run=two), *more])
    assert main([*label_command(folder, run=one), *more, "trainer.accumulate=2"]) == 0
    assert process.wait(MAX_SECONDS) == 0, (tmp_path / "out.txt").read_text()
    for stage in ("teacher", "zero_shot", ""):
        assert_same_numbers(two / stage, one / stage)
    terms = [[one["losses"] for one in records(run) if "losses" in one] for run in (one, two)]
    assert len(terms[0]) == len(terms[1]) > 5
    for first, second in zip(*terms, strict=True):
        assert second == pytest.approx(first, rel=1e-4, abs=1e-6)
