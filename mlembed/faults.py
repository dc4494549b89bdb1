"""Points at which tests kill the process; MLEMBED_FAULT is for tests alone and does nothing when it is not set."""

from __future__ import annotations

import os
import signal

_counts: dict[str, int] = {}


def fault_point(name: str) -> None:
    """Kill this process when MLEMBED_FAULT is `name`, or `name:n` at the n-th time (from 1) that it comes here."""
    wanted = os.environ.get("MLEMBED_FAULT")
    if wanted is None:
        return
    _counts[name] = _counts.get(name, 0) + 1
    point, _, number = wanted.partition(":")
    if point == name and _counts[name] == int(number or 1):
        os.kill(os.getpid(), signal.SIGKILL)
