"""Reads many inputs in processes of their own, with bounds on memory and time, and keeps those that break something."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import KeysView
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing.mutations import Files, mutate
from fuzzing.seeds_folders import read_files, write_files
from fuzzing.targets import TARGETS, Target
from mlembed.errors import MlembedError

# Inputs of one process: the next one begins with fresh memory.
BATCH = 2000
# Of so many inputs one is made by a strategy of hypothesis, where the target has one.
STRUCTURED = 50
PROGRESS = struct.Struct("<QQd")
MIB = 1 << 20
# Times `Limits.seconds` of the clock: what waits for something takes no time of the processor.
WAITING = 6


@dataclass
class Outcome:
    """What came of fuzzing a target.

    Args:
        inputs: that were read.
        errors: how many of them ended with an error of mlembed.
        seconds: of all.
        peak: bytes by which the memory of a process grew at most.
        findings: folder of an input -> what it did.
    """

    inputs: int = 0
    errors: int = 0
    seconds: float = 0.0
    peak: int = 0
    findings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """What an input may use.

    Args:
        memory: bytes of address space beyond what the process has at its start.
        seconds: of the processor for one input; other work on the machine is not the input's fault.
    """

    memory: int = 1024 * MIB
    seconds: float = 10.0


class TooSlow(BaseException):
    """An input took longer than it may; no `except Exception` stops it."""


def fuzz(name: str, *, inputs: int, seed: int, limits: Limits, findings: Path | None = None) -> Outcome:
    """Read changed inputs of a target.

    Args:
        name: of the target.
        inputs: how many.
        seed: another one makes others.
        limits: of each input.
        findings: where inputs that break something are kept, each in a folder with `problem.txt`; None: nowhere.
    """
    target, outcome, started = TARGETS[name], Outcome(), time.perf_counter()
    seeds = target.seeds()
    _warm_up(target, seeds)
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_memory_disk()) as scratch:
        while outcome.inputs < inputs:
            batch = min(BATCH, inputs - outcome.inputs)
            plan = _Plan(name, seeds, batch, seed=f"{seed}-{outcome.inputs}", limits=limits, scratch=Path(scratch))
            _one_process(plan, outcome, findings=findings)
    outcome.seconds = time.perf_counter() - started
    return outcome


def problem_of(target: Target, folder: Path, choice: int) -> str | None:
    """Read an input; returns what it did that nothing may do, and raises errors of mlembed."""
    try:
        target.read(folder, choice)
    except MlembedError as error:
        if not str(error).strip():
            return "an error without a message"
        raise
    except TooSlow:
        raise
    except BaseException:
        return traceback.format_exc()
    return None


def replay(name: str, folder: Path) -> str | None:
    """Read a kept input again, without limits; returns what it did."""
    choice = int((folder / "choice.txt").read_text())
    with tempfile.TemporaryDirectory() as scratch, contextlib.suppress(MlembedError):
        write_files(Path(scratch), read_files(folder / "input"))
        return problem_of(TARGETS[name], Path(scratch), choice)
    return None


@dataclass(frozen=True)
class _Plan:
    """The inputs of one process."""

    name: str
    seeds: list[Files]
    inputs: int
    seed: str
    limits: Limits
    scratch: Path


def _warm_up(target: Target, seeds: list[Files]) -> None:
    """Import everything before processes are forked, and see that valid inputs are read."""
    for files in seeds:
        for choice in range(8):
            with tempfile.TemporaryDirectory() as folder, contextlib.suppress(MlembedError):
                write_files(Path(folder), files)
                target.read(Path(folder), choice)
    if target.structured is not None:
        target.structured()


def _memory_disk() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _one_process(plan: _Plan, outcome: Outcome, *, findings: Path | None) -> None:
    """Fork, and watch the process: it may end early, or hang where Python does not get to a signal."""
    shared = mmap.mmap(-1, PROGRESS.size + 8)
    report = plan.scratch / "report.json"
    report.unlink(missing_ok=True)
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        _child(plan, shared, report)
    status = _wait(process, shared, seconds=plan.limits.seconds)
    done, errors, _ = PROGRESS.unpack_from(shared)
    outcome.inputs += done
    outcome.errors += errors
    outcome.peak = max(outcome.peak, struct.unpack_from("<Q", shared, PROGRESS.size)[0])
    if report.is_file():
        for problem, kept in json.loads(report.read_text()):
            _keep(outcome, plan, problem, Path(kept), findings=findings)
    if status != 0:
        problem = f"the process ended with signal {-status}" if status < 0 else f"the process ended with {status}"
        _keep(outcome, plan, problem, plan.scratch / "case", findings=findings)
        outcome.inputs += 1


def _wait(process: int, shared: mmap.mmap, *, seconds: float) -> int:
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        _, _, began = PROGRESS.unpack_from(shared)
        if began and time.monotonic() - began > WAITING * seconds:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.02)


def _child(plan: _Plan, shared: mmap.mmap, report: Path) -> None:
    """Read the inputs of a plan; does not return."""
    code = 70
    try:
        with Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        _Reading(plan, shared, report).run()
        code = 0
    finally:
        os._exit(code)


class _Reading:
    """The inputs of one process, one after the other."""

    def __init__(self, plan: _Plan, shared: mmap.mmap, report: Path) -> None:
        self.plan, self.shared, self.report = plan, shared, report
        self.target = TARGETS[plan.name]
        self.rng = random.Random(plan.seed)
        self.folder = plan.scratch / "case"
        self.input, self.choice = self.folder / "input", self.folder / "choice.txt"
        self.names: KeysView[str] = {}.keys()
        self.done = self.errors = 0
        self.found: dict[str, str] = {}
        self.at_start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def run(self) -> None:
        """Read them all, changed ones first."""
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + self.plan.limits.memory, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGPROF, _too_slow)
        structured = self.plan.inputs // STRUCTURED if self.target.structured else 0
        while self.done < self.plan.inputs - structured:
            self.one(mutate(self.rng.choice(self.plan.seeds), self.plan.seeds, self.rng))
        if structured:
            self.structured(structured)
        while self.done < self.plan.inputs:  # hypothesis knew no more
            self.one(mutate(self.rng.choice(self.plan.seeds), self.plan.seeds, self.rng))

    def structured(self, count: int) -> None:
        """Read inputs that a strategy of hypothesis makes."""
        from hypothesis import HealthCheck, Phase, given, seed, settings

        assert self.target.structured is not None
        options = settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        seed(self.plan.seed)(options(given(self.target.structured())(lambda files: self.one(files))))()

    def one(self, files: Files) -> None:
        """Read one input, and note what it did."""
        choice = self.rng.randrange(1 << 16)
        if files.keys() != self.names:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.names = files.keys()
        write_files(self.input, files)
        self.choice.write_bytes(b"%d" % choice)
        self._tell()
        signal.setitimer(signal.ITIMER_PROF, self.plan.limits.seconds)
        try:
            problem = problem_of(self.target, self.input, choice)
        except MlembedError:
            problem = None
            self.errors += 1
        except TooSlow:
            problem = f"it took more than {self.plan.limits.seconds} seconds\n{traceback.format_exc()}"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        self.done += 1
        if problem is not None:
            self._note(problem, files, choice)
        self._tell()

    def _tell(self) -> None:
        PROGRESS.pack_into(self.shared, 0, self.done, self.errors, time.monotonic())
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self.at_start
        struct.pack_into("<Q", self.shared, PROGRESS.size, grown * 1024)

    def _note(self, problem: str, files: Files, choice: int) -> None:
        if (key := kind_of(problem)) in self.found:
            return
        kept = self.plan.scratch / f"found-{len(self.found)}"
        shutil.rmtree(kept, ignore_errors=True)
        write_files(kept / "input", files)
        (kept / "choice.txt").write_text(str(choice))
        self.found[key] = problem
        kinds = [(text, str(self.plan.scratch / f"found-{at}")) for at, text in enumerate(self.found.values())]
        self.report.write_text(json.dumps(kinds))


def kind_of(problem: str) -> str:
    """The same for problems that are alike: the last place in a traceback, and the class of the error."""
    lines = problem.strip().splitlines()
    places = [line.strip() for line in lines if line.startswith("  File ")]
    return " ".join([*places[-1:], lines[-1].partition(":")[0]])


def _keep(outcome: Outcome, plan: _Plan, problem: str, kept: Path, *, findings: Path | None) -> None:
    """Copy an input to where findings are kept, one of each kind."""
    kind = kind_of(problem)
    if kind in map(kind_of, outcome.findings.values()):
        return
    name = f"{plan.name}-{hashlib.sha256(kind.encode()).hexdigest()[:12]}"
    outcome.findings[name] = problem
    if findings is not None:
        folder = findings / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(kept, folder)
        (folder / "problem.txt").write_text(problem, encoding="utf-8", errors="replace")


def _too_slow(*_: object) -> None:
    raise TooSlow
