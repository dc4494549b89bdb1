"""Whole runs in processes that a test may kill, forked from a server that has torch loaded: two seconds, not eight."""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from toys import toy_command

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "mlembed.train",
        "accelerate.utils",
        "mlembed.door.hydra_app",
        "toys",
        "matplotlib.backends.backend_agg",
        "rich.progress",
        "rich.table",
    ]
)
# 2 epochs of 8 steps; checkpoints at 3, 6, 8, 9, 12, 15 and 16; dropout is on.
STEPS = 16
MAX_SECONDS = 120.0


def slow(*values: Any) -> Any:
    """A case of a parametrized test that another one in `make test` is near to."""
    return pytest.param(*values, marks=pytest.mark.slow)


def survival_command(folder: Path, *, run: Path) -> list[str]:
    """Arguments of a training run of 16 steps into a folder, with a checkpoint every 3 steps."""
    return [*toy_command(folder), "model=copy", "trainer.save_every=3", "trainer.progress=none", f"run.dir={run}"]


def start(
    arguments: Sequence[str],
    *,
    output: Path,
    fault: str | None = None,
    cache: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> BaseProcess:
    """Start the command line in a process of its own.

    Args:
        arguments: of `mlembed`.
        output: gets what it prints; appended to.
        fault: MLEMBED_FAULT.
        cache: MLEMBED_CACHE; None: that of this process.
        environment: what else is set.
    """
    # The server was started with the environment of another test.
    given = {
        "MLEMBED_CACHE": str(cache or os.environ["MLEMBED_CACHE"]),
        **({} if fault is None else {"MLEMBED_FAULT": fault}),
        **(environment or {}),
    }
    process = _SERVER.Process(target=_main, args=(list(arguments), str(output), given))
    process.start()
    return process


def run_to_end(arguments: Sequence[str], *, output: Path, fault: str | None = None) -> int:
    """Run the command line in a process of its own; minus the signal's number when one ended it."""
    process = start(arguments, output=output, fault=fault)
    process.join(MAX_SECONDS)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"still there after {MAX_SECONDS} seconds; it said: {output.read_text(encoding='utf-8')}")
    return process.exitcode


def _main(arguments: list[str], output: str, environment: dict[str, str]) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    from mlembed.cli import main

    sys.exit(main(arguments))


def run_with_fault(monkeypatch: pytest.MonkeyPatch, fault: str, arguments: Sequence[str]) -> int:
    """Run the command line in this process, with a fault that does not kill it."""
    from mlembed import faults
    from mlembed.cli import main

    with monkeypatch.context() as patch:
        patch.setenv("MLEMBED_FAULT", fault)
        patch.setattr(faults, "_counts", {})
        return main(list(arguments))


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + MAX_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def wait_until_stopped(process: BaseProcess) -> None:
    """Wait for a process that a fault stops with SIGSTOP."""
    status = Path(f"/proc/{process.pid}/stat")
    wait_until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T")


def go_on(process: BaseProcess) -> None:
    """Let a stopped process go on."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGCONT)


def seal(checkpoint: Path) -> None:
    """Make a manifest that agrees with the files as they are, as somebody would who wants to be believed."""
    files = [path for path in checkpoint.rglob("*") if path.is_file() and path.name != "manifest.json"]
    entries = {
        path.relative_to(checkpoint).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in files
    }
    (checkpoint / "manifest.json").write_text(json.dumps({"files": entries}))


def student_hash(run: Path) -> str:
    """The sha256 of a finished run's exported weights."""
    return hashlib.sha256((run / "student" / "model.safetensors").read_bytes()).hexdigest()


def records(run: Path) -> list[dict[str, Any]]:
    """The objects of metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def losses(run: Path) -> dict[int, float]:
    """Step -> loss; fails when a step is logged twice."""
    steps = [record for record in records(run) if "evaluation" not in record]
    result = {record["step"]: record["loss"] for record in steps}
    assert len(result) == len(steps), "a step is logged twice"
    return result


def evaluations(run: Path) -> dict[int, dict[str, Any]]:
    """Step -> means of its evaluation; fails when a step is evaluated twice."""
    found = [record for record in records(run) if "evaluation" in record]
    result = {record["step"]: record["evaluation"] for record in found}
    assert len(result) == len(found), "an evaluation is logged twice"
    return result


@functools.cache
def reference(folder: Path) -> Path:
    """The run of `survival_command` that nothing interrupted, made once."""
    from mlembed.cli import main

    run = folder / "reference"
    assert main(survival_command(folder, run=run)) == 0
    return run


@functools.cache
def interrupted(folder: Path) -> Path:
    """The same run, killed in step 11; do not go on with it, but with a copy."""
    run = folder / "interrupted"
    assert run_to_end(survival_command(folder, run=run), output=folder / "interrupted.txt", fault="step:11") == -9
    return run


def copy_of_interrupted(folder: Path, to: Path) -> Path:
    """A run that was killed in step 11; its newest checkpoint is of step 9, the one before of step 8."""
    return Path(shutil.copytree(interrupted(folder), to))


def assert_same_run(run: Path, expected: Path) -> None:
    """Weights, losses and evaluations are those of the run that nothing interrupted, bit for bit."""
    assert student_hash(run) == student_hash(expected)
    assert losses(run) == losses(expected)
    assert evaluations(run) == evaluations(expected)
