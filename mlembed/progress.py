"""What the screen shows while a run lasts: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger("mlembed")

# Lines of a task that counts texts, at most one in this many seconds.
SECONDS_BETWEEN_LINES = 10.0


def choose_progress(wanted: str) -> str:
    """Resolve `auto`: a bar where a person looks, lines where a file is written."""
    if wanted != "auto":
        return wanted
    return "bar" if sys.stderr.isatty() else "lines"


class TrainingProgress:
    """Shows steps: loss, texts and tokens per second, padding, time left.

    Args:
        kind: `bar`, `lines` or `none`.
        total_steps: steps of the whole run.
        log_every: steps between lines.
    """

    def __init__(self, *, kind: str, total_steps: int, log_every: int) -> None:
        self.kind, self.total_steps, self.log_every = kind, total_steps, log_every
        self.started: float | None = None
        self.first_step = 0
        self.bar: Any = None
        self.task: Any = None

    def step(self, record: dict[str, Any]) -> None:
        """One step was done."""
        if self.started is None:
            self.started = time.perf_counter() - record["seconds"]
            self.first_step = record["step"] - 1
            self._open()
        if self.bar is not None:
            self.bar.update(self.task, completed=record["step"], figures=_figures(record))
        elif self.kind == "lines" and (record["step"] % self.log_every == 0 or record["step"] == self.total_steps):
            log.info(
                "step %d/%d  %s  ETA %s", record["step"], self.total_steps, _figures(record), self._time_left(record)
            )

    def _open(self) -> None:
        if self.kind != "bar":
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("training"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        self.bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
        self.task = self.bar.add_task("training", total=self.total_steps, figures="")
        self.bar.start()

    def _time_left(self, record: dict[str, Any]) -> str:
        assert self.started is not None
        done = record["step"] - self.first_step
        seconds = (time.perf_counter() - self.started) / done * (self.total_steps - record["step"])
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"

    def close(self) -> None:
        """Leave the last state of the bar on the screen."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _figures(record: dict[str, Any]) -> str:
    loss = "skipped" if record["loss"] is None else f"loss {record['loss']:.5f}"
    return (
        f"{loss}  {record['texts_per_s']:.0f} texts/s  {record['tokens_per_s']:.0f} tokens/s  "
        f"padding {100 * record['padding']:.0f} %"
    )


@contextmanager
def counting(what: str, *, total: int, kind: str) -> Iterator[Callable[[int], None]]:
    """Show how a long task goes on; gives a function that is called with how many parts were just done."""
    if kind == "bar":
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.advance(task, count)
        return
    done, last = 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        if kind == "lines" and time.monotonic() - last > SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            log.info("%s: %d of %d", what, done, total)

    yield advance
