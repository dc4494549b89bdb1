"""Weights & Biases: to its server, or offline into the run directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from mlembed.run.trackers.tracker import TrackedRun


class WandB:
    """A run of W&B; the key is taken from WANDB_API_KEY or the login, never from the configuration."""

    package: ClassVar[str] = "wandb"

    def start(self, run: TrackedRun) -> str:
        """Begin a run, or go on with the one of an earlier start."""
        import wandb

        # Without console, code and git: what a run leaves is in its directory.
        settings = wandb.Settings(console="off", save_code=False, disable_git=True, silent=True)
        self.run: Any = wandb.init(
            project=run.setting("project"),
            entity=run.setting("wandb.entity"),
            group=run.setting("group"),
            tags=run.setting("tags") or None,
            mode=run.setting("wandb.mode"),
            name=run.name,
            id=run.known_id,
            resume="allow" if run.known_id else None,
            dir=str(run.folder),
            config=dict(run.config),
            settings=settings,
        )
        return str(self.run.id)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log figures; of steps that W&B has already it takes no notice, and a run does them again alike."""
        self.run.log(dict(values), step=step)

    def finish(self, *, done: bool) -> None:
        """Wait until all is sent, or written."""
        self.run.finish(exit_code=0 if done else 1)
