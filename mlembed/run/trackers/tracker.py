"""What a tracker is: a place outside the run directory where the figures of a run are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told of a run at its start.

    Args:
        name: of the run directory.
        folder: the run directory, where files of the tracker may lie.
        config: the run's, without secrets, as nested JSON values.
        settings: the section `trackers` of the configuration.
        known_id: what the tracker called the run in an earlier start of it.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    settings: Mapping[str, Any]
    known_id: str | None

    def setting(self, name: str) -> Any:
        """A setting, `project` or `wandb.mode`."""
        value: Any = self.settings
        for part in name.split("."):
            value = value[part]
        return value


class Tracker(Protocol):
    """One tracker, in a process of its own: it may raise, hang, or end the process."""

    package: ClassVar[str]
    """What is imported; the extra of mlembed has the tracker's name."""

    def start(self, run: TrackedRun) -> str:
        """Begin, or go on with, the run; returns what the tracker calls it."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Figures of an optimizer step, of an evaluation, or of the final report."""
        ...

    def finish(self, *, done: bool) -> None:
        """Send what is left; the run is done, or was ended before."""
        ...
