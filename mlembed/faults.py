"""Points at which tests end, stop or starve the process; MLEMBED_FAULT is for tests alone, else nothing happens."""

from __future__ import annotations

import os
import signal

_counts: dict[str, int] = {}


def fault_point(name: str) -> None:
    """Send this process a signal, or let it run out of memory, when MLEMBED_FAULT asks for it here.

    MLEMBED_FAULT is a list like `save.start,step:3:SIGTERM`: the name of a point, at which time (from 1) that the
    process comes by, and the signal, or `MemoryError`; the first time and SIGKILL where they are left out.

    Raises:
        MemoryError: it is asked for.
    """
    wanted = os.environ.get("MLEMBED_FAULT")
    if wanted is None:
        return
    _counts[name] = _counts.get(name, 0) + 1
    for fault in wanted.split(","):
        point, number, signal_name = [*fault.split(":"), "", ""][:3]
        if point == name and _counts[name] == int(number or 1):
            if signal_name == MemoryError.__name__:
                raise MemoryError(f"asked for by MLEMBED_FAULT at {name}")
            os.kill(os.getpid(), signal.Signals[signal_name or "SIGKILL"])
