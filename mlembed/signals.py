"""SIGINT and SIGTERM: the first asks the run to end at the next step, the second ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from mlembed.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Remembers the first signal while a run lasts; a context manager."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
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
            os._exit(128 + number)
        self.signal_number = number
        # print and logging are not safe inside a handler that may have interrupted them.
        os.write(2, b"\nmlembed: ending after this step, with a checkpoint; a second signal ends at once\n")

    def check(self) -> None:
        """Raise `Interrupted` when a signal came."""
        if self.signal_number is not None:
            name = signal.Signals(self.signal_number).name
            raise Interrupted(self.signal_number, f"ended by {name}")
