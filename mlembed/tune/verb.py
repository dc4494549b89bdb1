"""`mlembed tune`: the best values of a training's settings, searched for with Optuna."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mlembed.door.command_line import parse_words
from mlembed.door.hydra_app import App, run_app
from mlembed.errors import ConfigError
from mlembed.tune.settings import tune_config


def main(words: Sequence[str]) -> int:
    """Begin a study, or go on with it, and return the exit code.

    Raises:
        MlembedError: with a message for the user and an exit code.
    """
    line = parse_words("tune", words)
    if "--multirun" in line.options:
        raise ConfigError("-m is the grid of mlembed train; a study takes ranges and choices from space=...")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "a trial is trained by one process: start mlembed tune without torchrun, once for each GPU "
            "(CUDA_VISIBLE_DEVICES=0 mlembed tune ...); all share the study"
        )

    def run_with(config: Any, sweep_dir: str | None) -> float:
        from mlembed.tune.search import search

        return search(config)

    run_app(App(line, settle=tune_config, run=run_with))
    return 0
