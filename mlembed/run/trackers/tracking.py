"""Tells trackers of a run without waiting for them: each has a process, a bounded queue, and little time at the end.

A tracker is other people's code, which raises, hangs, draws random numbers and reaches for the network. In a process of
its own it can do no more to a run than be left out.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlembed.config import TrainConfig
from mlembed.errors import ConfigError, Interrupted
from mlembed.report.report import Report
from mlembed.run.directory import RunDirectory, redact
from mlembed.run.trackers.process import TRACKERS

log = logging.getLogger("mlembed")

FOLDER = "trackers"
PROGRAM = [sys.executable, "-m", "mlembed.run.trackers.process"]
# Records that wait for a slow tracker; more are dropped, and counted.
MOST_WAITING = 10_000
# Who sends a signal sends another one soon.
SECONDS_AFTER_A_SIGNAL = 5.0


def check_installed(names: Sequence[str]) -> None:
    """Look for the packages of trackers, before a run that nobody would see.

    Raises:
        ConfigError: one is not installed.
    """
    for name in names:
        if importlib.util.find_spec(TRACKERS[name].package) is None:
            raise ConfigError(f'trackers.use: {name} is not installed: pip install "mlembed[{name}]"')


class Trackers:
    """The trackers of a run; none of its methods raises, waits for a network, or draws a random number.

    Args:
        tellings: one for each tracker.
    """

    def __init__(self, tellings: Sequence[Telling]) -> None:
        self.tellings = tellings

    def record(self, record: Mapping[str, Any]) -> None:
        """Tell all of a record of metrics.jsonl."""
        for telling in self.tellings:
            telling.tell(record)

    def report(self, report: Report) -> None:
        """Tell all of the final report: each metric as a mean, and by language."""
        values = {name: report.mean(name) for name in report.metrics()}
        for language, row in report.systems[report.last].items():
            values |= {f"{name}/{language}": estimate.value for name, estimate in row.items()}
        for telling in self.tellings:
            telling.tell({"report": values})
            telling.tell({"end": True}, counts=False)


@contextlib.contextmanager
def tracking(config: TrainConfig, run: RunDirectory, *, is_first: bool) -> Iterator[Trackers]:
    """Tell the trackers of the configuration of a run, from its start to its end.

    Args:
        config: the run's.
        run: its directory.
        is_first: whether this is the first of several processes; others tell nobody.
    """
    plain = json.loads(redact(json.dumps(config.model_dump(mode="json"))))
    settings = plain["trackers"] | {"mlflow": config.trackers.mlflow.model_dump()}
    folder = run.path.absolute()
    about = {"name": folder.name, "folder": str(folder), "config": plain, "settings": settings}
    names = config.trackers.use if is_first else []
    trackers = Trackers([Telling(name, folder=folder / FOLDER, about=about) for name in names])
    seconds = config.trackers.last_seconds
    try:
        yield trackers
    except Interrupted:
        seconds = min(seconds, SECONDS_AFTER_A_SIGNAL)
        raise
    finally:
        end = time.monotonic() + seconds
        for telling in trackers.tellings:
            telling.no_more()
        for telling in trackers.tellings:
            telling.close(end)


class Telling:
    """One tracker: a queue, a thread that empties it into a pipe, and the process that reads the pipe.

    Args:
        name: of the tracker.
        folder: `RUN/trackers`, where its log goes.
        about: what it is told at its start.
    """

    def __init__(self, name: str, *, folder: Path, about: Mapping[str, Any]) -> None:
        self.name, self.log_file = name, folder / f"{name}.log"
        self.told = self.handled = 0
        self.reader_is_done = threading.Event()
        self.waiting: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self.process: subprocess.Popen[bytes] | None = None
        try:
            folder.mkdir(exist_ok=True)
            with self.log_file.open("ab") as errors:
                command = [*PROGRAM, name, str(folder)]
                # In a session of its own: Ctrl-C is for the run, which then says that it has ended.
                self.process = subprocess.Popen(  # noqa: S603 - this Python, with words of our own
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
                )
        except OSError as error:
            self._warn(f"cannot be started: {error}")
            return
        self.tell(about, counts=False)
        for work in (self._write, self._read):
            threading.Thread(target=work, name=f"{name} {work.__name__}", daemon=True).start()

    def tell(self, line: Mapping[str, Any], *, counts: bool = True) -> None:
        """Put a line into the queue; where that is full, the line is left out."""
        self.told += counts
        with contextlib.suppress(queue.Full):
            self.waiting.put_nowait(json.dumps(line).encode() + b"\n")

    def no_more(self) -> None:
        """All is told; the tracker may finish."""
        with contextlib.suppress(queue.Full):
            self.waiting.put_nowait(None)

    def close(self, end: float) -> None:
        """Wait for the tracker until a time of the monotonic clock, then end it; say what it was not told."""
        if self.process is not None:
            try:
                self.process.wait(max(end - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                with contextlib.suppress(OSError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self.reader_is_done.wait(1.0)
        if (missing := self.told - self.handled) > 0:
            self._warn(f"did not take {missing} of {self.told} records in time; metrics.jsonl has them all")

    def _write(self) -> None:
        assert self.process is not None and self.process.stdin is not None
        with contextlib.suppress(OSError), self.process.stdin as pipe:
            while (line := self.waiting.get()) is not None:
                pipe.write(line)
                pipe.flush()

    def _read(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        for line in self.process.stdout:
            answer = json.loads(line)
            self.handled = answer.get("handled", self.handled)
            if "problem" in answer:
                self._warn(answer["problem"])
        self.reader_is_done.set()

    def _warn(self, problem: str) -> None:
        log.warning("%s %s. The run goes on without it; see %s", self.name.upper(), redact(problem), self.log_file)
