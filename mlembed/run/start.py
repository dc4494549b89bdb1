"""From the composed configuration to the one that counts: a stored run's settings come back from its config.json."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlembed.config import EvalConfig, TrainConfig
from mlembed.config_door import validate
from mlembed.errors import ConfigError
from mlembed.run.directory import COMMAND, CONFIG
from mlembed.strict_json import read

# A configuration is a few kilobytes; more is not one of ours, and is not read.
MAX_CONFIG_BYTES = 1 << 20
# What may change when a run goes on: how long, how it is watched, and where things lie (their contents are compared).
FREE_KEYS = (
    "run",
    "trackers",
    "trainer.epochs",
    "trainer.max_steps",
    "trainer.patience",
    "trainer.on_collapse",
    "trainer.progress",
    "trainer.log_every",
    "trainer.save_every",
    "trainer.keep_checkpoints",
    "model.teacher.name",
    "model.student.name",
    "data.train",
    "data.parallel",
    "data.unlabelled",
    "data.validation",
    "data.test",
    "data.on_error",
)


def train_config(plain: dict[str, Any], given: Iterable[str]) -> TrainConfig:
    """The configuration of a training run; with `run.resume`, the stored one with the given keys laid over it."""
    run = plain.get("run")
    if isinstance(run, dict) and (resume := run.get("resume")) is not None:
        folder = Path(str(resume))
        stored = read_stored_config(folder)
        # A permission is for one start: what was allowed once must not be allowed for ever.
        stored["run"]["allow_changes"] = False
        given = [key for key in given if key != "run.resume"]
        plain = lay_over(stored, plain, given)
        plain["run"] |= {"dir": str(folder), "resume": str(folder)}
    return validate(plain, TrainConfig)


def eval_config(plain: dict[str, Any], given: Iterable[str]) -> EvalConfig:
    """The configuration of an evaluation; data and teacher come from the target's run where they are not given."""
    target = Path(str(plain.get("target")))
    for folder in (target, target.parent.parent):
        if (folder / CONFIG).is_file() and (folder / COMMAND).is_file():
            stored = read_stored_config(folder)
            base = copy.deepcopy(plain)
            base["data"] = stored["data"]
            try:
                base["teacher"] = {key: stored["model"]["teacher"][key] for key in ("name", "max_length")}
                base["seed"] = stored["seed"]
                base["task_kind"] = stored["task"]["kind"]
            except (KeyError, TypeError):
                raise ConfigError(f"{folder / CONFIG} is not the configuration of a training run") from None
            plain = lay_over(base, plain, given)
            break
    return validate(plain, EvalConfig)


def read_stored_config(folder: Path) -> dict[str, Any]:
    """Read a run's config.json as plain JSON: never with OmegaConf, whose interpolations read the environment.

    Raises:
        ConfigError: when there is none, or it is not JSON.
    """
    path = folder / CONFIG
    try:
        stored = read(path, most_bytes=MAX_CONFIG_BYTES)
    except FileNotFoundError:
        raise ConfigError(f"{folder} is not a run directory: there is no {CONFIG} in it") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not isinstance(stored, dict) or not all(isinstance(stored.get(key), dict) for key in ("data", "run")):
        raise ConfigError(f"{path} is not the configuration of a run")
    return stored


def lay_over(stored: dict[str, Any], composed: Mapping[str, Any], given: Iterable[str]) -> dict[str, Any]:
    """The stored configuration with the keys that the command line gave (dotted keys, or whole groups).

    Raises:
        ConfigError: a key was given that cannot be laid over: one that is taken away, or that sets others.
    """
    result = copy.deepcopy(stored)
    for key in given:
        *parents, last = key.split(".")
        source: Any = composed
        target = result
        for parent in parents:
            source = source[parent]
            if not isinstance(target.setdefault(parent, {}), dict):
                target[parent] = {}
            target = target[parent]
        if last not in source:
            # It was taken away (~key), or is a group (experiment, debug) whose files set keys everywhere.
            raise ConfigError(f"{key} cannot be laid over the configuration of a run; give single keys instead")
        target[last] = source[last]
    return result


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What has changed between a run's configuration and the one it is resumed with, without the free keys."""
    old, new = dict(leaves(stored)), dict(leaves(wanted))
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    changed = [key for key in changed if not any(key == free or key.startswith(f"{free}.") for free in FREE_KEYS)]
    return [f"{key}: was {json.dumps(old.get(key))}, is now {json.dumps(new.get(key))}" for key in changed]


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Every dotted key of nested dicts with its value."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
