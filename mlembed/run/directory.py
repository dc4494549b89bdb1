"""The run directory: its names, its lock, and what is written into it while a run lasts."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import platform
import re
import secrets
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from mlembed.errors import ConfigError
from mlembed.files import open_plain_file, write_atomically
from mlembed.strict_json import without_nan

log = logging.getLogger("mlembed")

CONFIG, COMMAND, ENVIRONMENT = "config.json", "command.txt", "environment.json"
LOG, METRICS, REPORT, REPORT_TEXT = "log.txt", "metrics.jsonl", "report.json", "report.md"
DETAILS, PAGE, PLOTS = "details.json", "report.html", "plots"
# What there is instead of a report: of a benchmark, and of an evaluation on tasks of mteb.
BENCHMARK, MTEB_SCORES = "bench.json", "mteb.json"
# Of a trial of a study that was ended, since others did better: after which step and evaluation, with which value.
PRUNED = "pruned.json"
CHECKPOINTS, STUDENT, LOCK = "checkpoints", "student", "run.lock"
PACKAGES = ("mlembed", "torch", "transformers", "tokenizers", "accelerate", "hydra-core", "numpy", "safetensors")
# A run that begins while somebody looks whether it is running waits for that, and is not refused.
LOCK_TRIES, LOCK_WAIT_S = 5, 0.05
SECRETS = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)|\bhf_[A-Za-z0-9]{16,}\b")


Follower = Callable[[Mapping[str, Any]], None]


class RunDirectory:
    """One run's folder, held by this process.

    Args:
        path: the folder; it exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Called with each record of metrics.jsonl, after it was written.
        self.followers: list[Follower] = []
        self._unwritten, self._is_full = b"", False

    @property
    def is_started(self) -> bool:
        """Whether a run has written its configuration here."""
        return (self.path / CONFIG).exists()

    def foreign_files(self) -> list[str]:
        """What lies here that no run writes before its configuration."""
        ours = {LOCK, LOG, COMMAND, ENVIRONMENT}
        names = sorted(item.name for item in self.path.iterdir())
        return [name for name in names if name not in ours and not name.startswith(f".{CONFIG}.")]

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.path / CHECKPOINTS

    @property
    def student(self) -> Path:
        """Where the best student goes at the end."""
        return self.path / STUDENT

    def write_start(self, config: Mapping[str, Any]) -> None:
        """Write config.json, command.txt and environment.json."""
        self.write_config(config)
        with (self.path / COMMAND).open("a", encoding="utf-8") as file:
            file.write(redact(f"cd {shlex.quote(str(Path.cwd()))} && {command_line(sys.argv)}") + "\n")
        write_atomically(self.path / ENVIRONMENT, json.dumps(_environment(), indent=2) + "\n")

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.json alone: a setting that was `auto` has been found."""
        write_atomically(self.path / CONFIG, redact(json.dumps(config, indent=2, ensure_ascii=False)) + "\n")

    def add_metrics(self, record: Mapping[str, Any]) -> None:
        """Append one object to metrics.jsonl; on a full disk it waits for the next, since training may go on."""
        self._unwritten += json.dumps(without_nan(record)).encode() + b"\n"
        try:
            with (self.path / METRICS).open("ab", buffering=0) as file:
                self._unwritten = self._unwritten[file.write(self._unwritten) :]
        except OSError as error:
            if not self._is_full:
                log.warning("%s CANNOT BE WRITTEN: %s; it is tried again at each step", self.path / METRICS, error)
            self._is_full = True
        else:
            self._is_full = False

    def tell_followers(self, record: Mapping[str, Any]) -> None:
        """Give a record to those that follow the run; what they raise ends it."""
        for follower in self.followers:
            follower(record)

    def forget_metrics_after(self, step: int, *, evaluated_step: int) -> None:
        """Drop the records of what a resumed run does again, and a line that a kill cut short.

        Args:
            step: the last step that counts.
            evaluated_step: the last evaluation that counts.
        """
        path = self.path / METRICS
        if not path.is_file():
            return
        kept = []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                record = json.loads(line)
                if record["step"] <= (evaluated_step if "evaluation" in record else step):
                    kept.append(line)
        write_atomically(path, "".join(f"{line}\n" for line in kept))


def new_run_path(*, root: Path, name: str) -> Path:
    """Make `<root>/<name>-<utc>-<4 hex>`; runs that start in the same second get different folders."""
    for _ in range(100):
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = root / f"{name}-{stamp}-{secrets.token_hex(2)}"
        try:
            path.mkdir(parents=True)
        except OSError as error:
            if path.exists():
                continue
            raise ConfigError(f"run.root: {path} cannot be made: {error.strerror}") from error
        return path
    raise ConfigError(f"run.root: no free name could be found in {root}")


@contextlib.contextmanager
def hold(path: Path, *, key: str = "run.dir") -> Iterator[RunDirectory]:
    """Hold a run directory, so that no second process writes into it.

    The lock ends with the process, however it ends: the system takes it back, and nobody has to clean up.

    Args:
        path: the folder; it is made when it is not there.
        key: what named it, for messages.

    Raises:
        ConfigError: when another process holds it; the message names the process.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be used: {error.strerror}") from error
    try:
        _lock(descriptor, path, key=key)
        try:
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
            yield RunDirectory(path)
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, *, key: str) -> None:
    for tries_left in reversed(range(LOCK_TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if tries_left:
                # Who only asks whether it is held (`holder_of`) has it for a moment.
                time.sleep(LOCK_WAIT_S)
                continue
            holder = os.read(descriptor, 1000).decode(errors="replace").strip() or "another process"
            raise ConfigError(f"{path} is in use by {holder}; wait for it, or give another {key}") from None
        except OSError as error:
            raise ConfigError(f"{key}: {path} cannot be locked: {error.strerror}; try another disk") from error
    # What a process wrote that was killed.
    os.ftruncate(descriptor, 0)


def holder_of(path: Path) -> str | None:
    """The process that holds a run directory now, in words; None where nobody does.

    It only looks: nothing is written, and nothing that is not a plain file is read.
    """
    try:
        descriptor = open_plain_file(path / LOCK)
    except OSError:
        return None
    try:
        words = os.read(descriptor, 200).decode(errors="replace").strip()
        # Whoever let go of it left it empty; what is in it may be of a process that was killed.
        if not words:
            return None
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return words
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def redact(text: str) -> str:
    """Passwords in addresses and tokens of the hub do not belong into files that are shown around."""
    return SECRETS.sub("<redacted>", text)


def run_of(target: Path) -> Path | None:
    """The run that a target is, or is the student or a checkpoint of; None where it is of none."""
    target = target.expanduser().resolve()
    run = target
    if target.name == STUDENT:
        run = target.parent
    elif target.parent.name == CHECKPOINTS:
        run = target.parent.parent
    return run if (run / CONFIG).is_file() and (run / COMMAND).is_file() else None


def command_line(words: Sequence[str]) -> str:
    """The words of this process as a command for a shell.

    Args:
        words: with the name of the program, which is a file that cannot be started where it was `python -m mlembed`.
    """
    program = [sys.executable, "-m", "mlembed"] if Path(words[0]).name == "__main__.py" else [words[0]]
    return shlex.join([*program, *words[1:]])


def first_command(run: Path) -> str | None:
    """The command that a run was started with, without the folder it was given in; None where there is none."""
    try:
        first = (run / COMMAND).read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return None
    return first.partition(" && ")[2] or None


def _environment() -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cpus": os.cpu_count(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "versions": versions,
    }
