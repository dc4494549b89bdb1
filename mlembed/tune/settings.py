"""From what was composed for `mlembed tune` to a study whose space was tried, and from values to a trial."""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mlembed.config import TrainConfig, TuneConfig
from mlembed.config_door import validate
from mlembed.config_tune import Choice, FloatRange, IntRange
from mlembed.errors import ConfigError

# Keys that decide what is measured: with other values of them two trials could not be compared.
SAME_FOR_ALL = (
    "run",
    "tune",
    "trackers",
    "task.kind",
    "seed",
    "trainer.metric",
    "data.languages",
    "data.validation",
    "data.validation_size",
    "data.test",
    "data.test_size",
)


def tune_config(plain: dict[str, Any], given: Iterable[str]) -> TuneConfig:
    """The configuration of a study, with the borders of its space tried.

    Args:
        plain: what was composed; the space nested, or with dotted keys.
        given: the keys of the command line.

    Raises:
        ConfigError: one message with every problem: of the configuration, or of values in the space.
    """
    space = plain.get("space")
    if isinstance(space, Mapping):
        space = flattened(space)
        for key in given:
            _forget_other_kinds(space.get(key.removeprefix("space.")))
    config = validate({**plain, "space": space}, TuneConfig)
    problems = []
    for key, dimension in config.space.items():
        if any(key == fixed or key.startswith(f"{fixed}.") for fixed in SAME_FOR_ALL):
            problems.append(f"space.{key}: it must be the same for all trials, which could not be compared otherwise")
            continue
        for value in dimension.ends():
            try:
                trial_config(config, {key: value}, folder=Path("trial"))
            except ConfigError as error:
                lines = [line.strip(" -") for line in str(error).splitlines()[1:]]
                problems.append(f"space.{key}: with {json.dumps(value)}: {'; '.join(lines)}")
                break
    if problems:
        raise ConfigError("\n".join(["the space cannot be searched:", *(f"  - {problem}" for problem in problems)]))
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError('mlembed tune searches with Optuna, which is not installed: pip install "mlembed[tune]"')
    return config


def flattened(space: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{optimizer: {lr: {kind: float, ...}}}` as `{optimizer.lr: {kind: float, ...}}`; what is null is left out."""
    found: dict[str, Any] = {}
    for key, value in space.items():
        if isinstance(value, Mapping) and not isinstance(value.get("kind"), str):
            found |= flattened(value, f"{prefix}{key}.")
        elif value is not None:
            found[f"{prefix}{key}"] = value
    return found


def _forget_other_kinds(entry: Any) -> None:
    """Of an entry that was given anew, what Hydra has merged into it: a range that became a choice has no ends."""
    kinds: dict[str, type[BaseModel]] = {"float": FloatRange, "int": IntRange, "choice": Choice}
    if isinstance(entry, dict) and (kind := kinds.get(str(entry.get("kind")))) is not None:
        for name in {field for one in kinds.values() for field in one.model_fields} - kind.model_fields.keys():
            entry.pop(name, None)


def trial_config(config: TuneConfig, values: Mapping[str, Any], *, folder: Path) -> TrainConfig:
    """The configuration of one trial, an ordinary run.

    Args:
        config: of the study.
        values: dotted key -> value.
        folder: the run directory.

    Raises:
        ConfigError: these values cannot be trained with.
    """
    plain = config.model_dump(mode="json", exclude={"tune", "space"})
    for key, value in values.items():
        _set(plain, key.split("."), value)
    plain["trackers"]["group"] = plain["trackers"]["group"] or config.run.name
    run = {"name": folder.name, "root": str(folder.parent), "dir": str(folder), "resume": None, "allow_changes": False}
    return validate({**plain, "run": run}, TrainConfig)


def start_values(config: TuneConfig) -> dict[str, Any]:
    """What the configuration itself has for the keys of the space, where the space has it: the first trial."""
    plain = config.model_dump(mode="json")
    values = {key: _get(plain, key.split(".")) for key in config.space}
    return {key: value for key, value in values.items() if value in config.space[key]}


def lasting(config: TuneConfig) -> dict[str, Any]:
    """What must not change while a study goes on: all but its length, and where and how it is watched."""
    plain = copy.deepcopy(config.model_dump(mode="json", exclude={"run", "trackers"}))
    for key in ("trials", "timeout", "storage", "keep"):
        del plain["tune"][key]
    for key in ("progress", "log_every", "keep_checkpoints"):
        del plain["trainer"][key]
    return plain


def shown(value: Any) -> str:
    """A value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _set(plain: dict[str, Any], parts: list[str], value: Any) -> None:
    *parents, last = parts
    for parent in parents:
        if not isinstance(plain.get(parent), dict):
            plain[parent] = {}
        plain = plain[parent]
    plain[last] = value


def _get(plain: Any, parts: list[str]) -> Any:
    for part in parts:
        plain = plain.get(part) if isinstance(plain, Mapping) else None
    return plain
