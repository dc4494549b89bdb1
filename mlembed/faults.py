"""Points at which tests end or stop the process; MLEMBED_FAULT is for tests alone, and nothing happens without it."""

from __future__ import annotations

import os
import signal

_counts: dict[str, int] = {}


def fault_point(name: str) -> None:
    """Send this process a signal when MLEMBED_FAULT asks for it here.

    MLEMBED_FAULT is a list like `save.start,step:3:SIGTERM`: the name of a point, at which time (from 1) that the
    process comes by, and the signal; the first time and SIGKILL where they are left out.
    """
    wanted = os.environ.get("MLEMBED_FAULT")
    if wanted is None:
        return
    _counts[name] = _counts.get(name, 0) + 1
    for fault in wanted.split(","):
        point, number, signal_name = [*fault.split(":"), "", ""][:3]
        if point == name and _counts[name] == int(number or 1):
            os.kill(os.getpid(), signal.Signals[signal_name or "SIGKILL"])
