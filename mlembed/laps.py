"""Where the time of a run goes: seconds by part, taken as laps."""

from __future__ import annotations

import time


class Laps:
    """A stopwatch that runs from where it is made, so that the laps sum to the time that has passed at the last one."""

    def __init__(self) -> None:
        self.began = time.time()
        self.last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def end(self, part: str) -> None:
        """Give a part all the time since the part before it ended; parts that come again add up."""
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self.last
        self.last = now
