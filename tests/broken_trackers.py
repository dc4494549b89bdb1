"""The program of a tracker's process, with trackers that do all that a tracker may do wrong."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Mapping
from typing import ClassVar

from mlembed.run.trackers.process import TRACKERS, main
from mlembed.run.trackers.tracker import TrackedRun


class Broken:
    """Misbehaves where BROKEN says: `start`, `log` or `finish`, in the way after the colon."""

    package: ClassVar[str] = "tensorboard"

    def _at(self, place: str) -> None:
        where, _, how = os.environ["BROKEN"].partition(":")
        if where != place:
            return
        if how == "raises":
            raise ConnectionRefusedError("the network is refused")
        if how == "hangs":
            time.sleep(600)
        if how == "exits":
            sys.exit(3)
        if how == "seeds":
            random.seed(1)

    def start(self, run: TrackedRun) -> str:
        self._at("start")
        return "an-id"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._at("log")

    def finish(self, *, done: bool) -> None:
        self._at("finish")


if __name__ == "__main__":
    TRACKERS["tensorboard"] = Broken
    sys.exit(main())
