"""Whether a run can go on: its directory, its settings, its checkpoint, and what they were made from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlembed.checkpoint import CheckpointStore
from mlembed.config import TrainConfig
from mlembed.errors import ConfigError
from mlembed.run_directory import CONFIG, LOCK
from mlembed.start import differences, read_stored_config

log = logging.getLogger("mlembed")


def settle_config(config: TrainConfig, path: Path) -> tuple[TrainConfig, bool]:
    """Compare a configuration with that of a run that is there already.

    Args:
        config: what the command line asks for.
        path: the run directory, which may be new.

    Returns:
        The configuration that counts (`auto` settings are those of the run's start), and whether the run goes on.

    Raises:
        ConfigError: the folder is something else, or settings have changed.
    """
    if not (path / CONFIG).exists():
        foreign = sorted(item.name for item in path.iterdir() if item.name != LOCK)
        if foreign:
            raise ConfigError(
                f"run.dir: {path} is not empty and not a run directory (it has {foreign[0]}); give another"
            )
        return config, False
    stored = read_stored_config(path)
    wanted = config.model_dump(mode="json")
    for key in ("precision", "device"):
        if wanted["trainer"][key] == "auto":
            wanted["trainer"][key] = stored.get("trainer", {}).get(key, "auto")
    changed = differences(stored, wanted)
    if changed and not config.run.allow_changes:
        raise ConfigError(
            f"{path} was started with other settings:\n  - " + "\n  - ".join(changed) + "\n"
            "Give another run.dir for a new run, or run.allow_changes=true to go on with the new settings."
        )
    for change in changed:
        log.warning("going on with a changed setting: %s", change)
    return TrainConfig.model_validate(wanted), True


def find_checkpoint(store: CheckpointStore) -> Path | None:
    """The checkpoint that a run goes on from; None for one that was ended before its first.

    Raises:
        ConfigError: there are checkpoints, and none verifies.
    """
    newest = store.newest()
    if newest is None and store.steps():
        raise ConfigError(
            f"none of the {len(store.steps())} checkpoints in {store.folder} can be used (see above for the reasons). "
            "Delete the folder to start from the beginning, or restore it from a backup."
        )
    return newest


def check_signature(stored: Mapping[str, Any], current: Mapping[str, Any], *, allow_changes: bool) -> None:
    """Compare what a checkpoint was made from with what is there now.

    Raises:
        ConfigError: a list of the parts that differ.
    """
    changed = sorted(key for key in stored.keys() | current.keys() if stored.get(key) != current.get(key))
    if not changed:
        return
    listed = "\n".join(f"  - {key} ({_short(stored.get(key))} became {_short(current.get(key))})" for key in changed)
    if not allow_changes:
        raise ConfigError(
            f"the checkpoint was made with something else:\n{listed}\n"
            "Give a new run.dir, or run.allow_changes=true to go on all the same."
        )
    log.warning("going on although these have changed:\n%s", listed)


def _short(value: Any) -> str:
    return str(value)[:12]
