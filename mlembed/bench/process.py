"""One side of a benchmark in a process of its own: its wall time, its memory, and what it said."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlembed.errors import TrainingFailed

# ru_maxrss is in kilobytes, but on macOS in bytes.
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
SHOWN_LINES = 12


@dataclass(frozen=True)
class Ended:
    """A process that has ended well.

    Args:
        began: when it was started, seconds since 1970.
        seconds: wall time from its start to its end.
        peak_bytes: largest resident memory of it, or of a process that it waited for.
    """

    began: float
    seconds: float
    peak_bytes: int


def import_once(module: str, *, log: Path) -> None:
    """Import a module in another process, so that its files are in memory for whoever imports it next.

    Raises:
        TrainingFailed: it cannot be imported.
    """
    run_timed(["-c", f"import {module}"], environment={}, log=log, name=f"the import of {module}")


def run_timed(arguments: Sequence[str], *, environment: Mapping[str, str], log: Path, name: str) -> Ended:
    """Run this Python with some arguments and wait for it; it ends with this process.

    Args:
        arguments: after the interpreter.
        environment: laid over this process's own.
        log: gets what it prints.
        name: what messages call it.

    Raises:
        TrainingFailed: it ended with another code than 0; the message has the end of its log.
    """
    with log.open("wb") as file:
        began, started = time.time(), time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - this Python, with words of our own
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, **environment},
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:]
        raise TrainingFailed(
            f"{name} ended with code {process.returncode}; see {log}, whose last lines are\n  " + "\n  ".join(lines)
        )
    return Ended(began, seconds, usage.ru_maxrss * RSS_UNIT)
