"""The command line of `mlembed check`: the overrides of `mlembed train`, and where findings go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlembed.check.options import CheckOptions, read_options
from mlembed.door.command_line import parse_words
from mlembed.door.hydra_app import App, run_app
from mlembed.errors import ConfigError


def main(words: Sequence[str]) -> int:
    """Run the verb.

    Args:
        words: the command line after `check`.

    Returns:
        0 where training would go through, or the exit code that it would end with.

    Raises:
        MlembedError: with a message for the user and an exit code.
    """
    line = parse_words("check", words)
    if "--multirun" in line.options:
        raise ConfigError("-m is for training: check one combination at a time")
    options: CheckOptions = read_options({name: line.options.pop(f"--{name}", None) for name in CheckOptions.NAMES})
    code = 0

    def settle(plain: dict[str, Any], given: list[str]) -> Any:
        from mlembed.run.start import train_config

        config = train_config(plain, given)
        options.refuse_inputs(config.data)
        return config

    def run_with(config: Any, sweep_dir: str | None) -> float:
        nonlocal code
        from mlembed.check.verb import check

        code = check(config, options)
        return float(code)

    run_app(App(line, settle=settle, run=run_with))
    return code
