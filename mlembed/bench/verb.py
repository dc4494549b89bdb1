"""`mlembed bench`: the same training on every side, in turn; what each took, and whether the students are as good."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from mlembed import __version__
from mlembed.bench.document import Result, markdown, terminal_table
from mlembed.bench.outcome import Outcome
from mlembed.bench.own import MODULE, NAME, run_own
from mlembed.bench.peak import measure_peak
from mlembed.bench.peers import PEERS, missing, run_peer, version
from mlembed.bench.process import import_once
from mlembed.bench.quality import judge, measure
from mlembed.bench.task import Task, make_task, obstacle
from mlembed.bench.work import shape_of
from mlembed.config import BenchConfig
from mlembed.errors import ConfigError, Interrupted, MlembedError
from mlembed.files import write_atomically
from mlembed.machine import Machine, encoding_tokens, make_machine, training_tokens
from mlembed.models.encoder import load_encoder
from mlembed.progress import choose_progress
from mlembed.run.directory import BENCHMARK, CONFIG, LOG, RunDirectory, hold, new_run_path
from mlembed.run.run_log import logging_to
from mlembed.signals import StopRequest
from mlembed.staging import ending_at_once

log = logging.getLogger("mlembed")

TEXT = "bench.md"


def bench(config: BenchConfig) -> float:
    """Compare, and leave a folder with bench.json, bench.md and what every side has written.

    Args:
        config: the validated configuration.

    Returns:
        mlembed's median seconds end to end.

    Raises:
        MlembedError: with a message for the user and an exit code; also when mlembed's student is worse.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("mlembed bench compares single processes; start it without torchrun")
    path = Path(config.run.dir) if config.run.dir else new_run_path(root=Path(config.run.root), name=config.run.name)
    if (path / CONFIG).exists():
        raise ConfigError(f"run.dir: {path} holds a run already, which would be lost; give another folder")
    with hold(path) as run, logging_to(path / LOG, quiet=False):
        run.write_start(config.model_dump(mode="json"))
        try:
            with ending_at_once():
                result = _compare(config, run)
        except Interrupted as error:
            raise Interrupted(
                error.exit_code - 128, f"the benchmark was ended; what it has done is in {path}"
            ) from None
        _show(result)
        log.info("done: %s", path / TEXT)
    if worse := result.worse():
        named = ", ".join(f"{one.metric} ({one.own:.1f}, not {one.peer:.1f} as {peer})" for peer, one in worse)
        raise MlembedError(f"MLEMBED'S STUDENT IS WORSE in {named}: no time that it took can be compared")
    return result.medians[NAME]["seconds/end to end"]


def _compare(config: BenchConfig, run: RunDirectory) -> Result:
    machine = make_machine(
        device=config.trainer.device,
        precision=config.trainer.precision,
        processes=None,
        stop=StopRequest(),
        progress=choose_progress(config.trainer.progress),
        batch_tokens=encoding_tokens(config.trainer.batch_tokens, device=config.trainer.device),
    )
    device, precision = machine.compute.device, machine.compute.precision
    task = make_task(config, run.path.absolute() / "data", device=device.type, precision=precision)
    sides, not_run = _sides(task)
    outcomes = _rounds(task, sides, run.path.absolute())
    students = {name: found[-1].student for name, found in outcomes.items()}
    shape = shape_of(load_encoder(students[NAME], key=NAME))
    tokens = training_tokens(config.trainer.batch_tokens)
    log.info("measuring matrix products of the student's shapes")
    peaks = measure_peak(shape, tokens=tokens, device=device, seconds=config.bench.peak_seconds)
    log.info("measuring the students on %s", task.splits.test.name)
    folders = {"before": task.student} if task.student else {}
    # The report is about the last one.
    folders |= {name: students[name] for name in [*students][1:]} | {NAME: students[NAME]}
    quality = measure(folders, test=task.splits.test, machine=_exact(machine), seed=config.seed)
    result = Result(
        about=_about(task, machine, peers=[*students][1:]),
        figures={
            name: [
                one.figures(shape=shape, peak_gflops=peaks["fp32" if precision == "fp32" else "bf16"]) for one in found
            ]
            for name, found in outcomes.items()
        },
        peak_gflops=peaks,
        precision=precision,
        shape=shape,
        quality=quality,
        judgments={peer: judge(quality, own=NAME, peer=peer) for peer in [*students][1:]},
        not_run=not_run,
    )
    write_atomically(run.path / BENCHMARK, result.to_json())
    write_atomically(run.path / TEXT, markdown(result))
    return result


def _sides(task: Task) -> tuple[dict[str, Callable[[Path], Outcome]], dict[str, str]]:
    """What runs each side, mlembed first; and the peers that cannot be run, with the reason."""
    sides: dict[str, Callable[[Path], Outcome]] = {NAME: lambda folder: run_own(task, folder)}
    not_run: dict[str, str] = {}
    for peer in dict.fromkeys(task.config.bench.peers):
        if (why := missing(peer) or obstacle(task)) is not None:
            log.warning("%s is not run: %s", peer, why)
            not_run[peer] = why
        else:
            sides[peer] = lambda folder, name=peer: run_peer(name, task, folder)  # type: ignore[misc]
    return sides, not_run


def _rounds(task: Task, sides: dict[str, Callable[[Path], Outcome]], path: Path) -> dict[str, list[Outcome]]:
    """Each side in turn, so that a machine that grows warm or busy does so for all."""
    outcomes: dict[str, list[Outcome]] = {name: [] for name in sides}
    log.info("importing what each side needs, so that none has to wait for the disk in its first round")
    for name in sides:
        import_once(PEERS[name].module if name in PEERS else MODULE, log=path / "imports.txt")
    rounds = task.config.bench.rounds
    for number in range(1, rounds + 1):
        for name, run_side in sides.items():
            log.info("round %d of %d: %s trains", number, rounds, name)
            folder = path / f"round-{number}-{name}"
            folder.mkdir()
            outcome = run_side(folder)
            outcomes[name].append(outcome)
            log.info("%s: %.1f seconds in all", name, sum(outcome.seconds.values()))
    return outcomes


def _exact(machine: Machine) -> Machine:
    """The same machine in full precision: rounding must not decide which student is better."""
    compute = type(machine.compute)(machine.compute.device, "fp32")
    return Machine(compute, machine.processes, machine.stop, machine.progress, machine.batch_tokens)


def _about(task: Task, machine: Machine, *, peers: list[str]) -> dict[str, Any]:
    """Machine, data, models and settings, as JSON values."""
    config = task.config
    versions = {NAME: __version__, **{peer: version(peer) for peer in peers}}
    for package in ("torch", "transformers", "accelerate"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    used = task.splits.counts["used"]
    return {
        "machine": {
            "device": str(machine.compute.device),
            "precision": machine.compute.precision,
            "cpus": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
        },
        "versions": versions,
        "data": {
            "sources": used["train"]["sources"],
            "pairs": used["train"]["rows"],
            "languages": len(used["train"]["languages"]),
            "test_rows": used["test"]["rows"],
        },
        "models": {"teacher": str(task.teacher), "student": str(task.student) if task.student else config.model.kind},
        "epochs": config.trainer.epochs,
        "rounds": config.bench.rounds,
        "recipe": config.bench.recipe.model_dump(),
    }


def _show(result: Result) -> None:
    from rich.console import Console

    console = Console(file=sys.stdout)
    console.print(terminal_table(result))
    console.print("\n".join(["", *result.sentences()]), highlight=False, markup=False, soft_wrap=True)
