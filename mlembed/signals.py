"""SIGINT and SIGTERM: the first asks the run to end at the next step, the second ends it at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any

from mlembed.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Schedulers send a signal to torchrun and to its workers, and torchrun passes it on: within this time it is the same.
ECHO_SECONDS = 2.0


class StopRequest:
    """Remembers the first signal while a run lasts; a context manager."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self.agreed: int | None = None
        self.received = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        # Python allows handlers in the main thread alone; elsewhere signals keep their usual effect.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None:
            if "TORCHELASTIC_RUN_ID" in os.environ and time.monotonic() - self.received < ECHO_SECONDS:
                return
            os._exit(128 + number)
        self.signal_number, self.received = number, time.monotonic()
        # print and logging are not safe inside a handler that may have interrupted them; the terminal may be gone.
        with contextlib.suppress(OSError):
            os.write(2, b"\nmlembed: ending after this step, with a checkpoint; a second signal ends at once\n")

    def check(self) -> None:
        """Raise `Interrupted` when a signal came to this process, which is alone."""
        _interrupt(self.signal_number)

    def votes(self) -> list[float]:
        """1 for the signal that came, to be added up over all processes."""
        return [float(self.signal_number == number) for number in SIGNALS]

    def agree(self, votes: Sequence[float]) -> None:
        """Take the votes of all processes together: a signal to one of them ends all, at the same step."""
        self.agreed = next((number for number, count in zip(SIGNALS, votes, strict=True) if count), None)

    def check_agreed(self) -> None:
        """Raise `Interrupted` when the processes have agreed on a signal."""
        _interrupt(self.agreed)


def _interrupt(number: int | None) -> None:
    if number is not None:
        raise Interrupted(number, f"ended by {signal.Signals(number).name}")
