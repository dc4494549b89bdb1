"""What a configuration says that the defaults do not: composed from the files of the package alone."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from mlembed.config import GROUPS, RECIPES
from mlembed.errors import ConfigError
from mlembed.run.start import leaves

# What a key has in place of a default that is not there: an older or newer version knew it.
UNKNOWN = "(no such key in this version)"
ABSENT = object()

Differences = list[tuple[str, Any, Any]]


def differences_to_defaults(config: Mapping[str, Any], *, verb: str) -> tuple[dict[str, str], Differences]:
    """Find the choices of groups that are nearest to a configuration, and what it has different from them.

    A configuration does not say which files it came from (`data=intents`); of several with the same kind the one counts
    that leaves the fewest differences. Of the configuration only the names of kinds are used, and only where the
    package has a file of this name: nothing that it says is composed or resolved.

    Args:
        config: a stored configuration, of any version.
        verb: train, eval or bench.

    Returns:
        Group -> choice, and (key, value, default) of what differs, without the keys of the run itself.
    """
    from mlembed.door.help_page import options_of, text_of

    kinds: dict[str, str] = {}
    for group in GROUPS[verb]:
        section = config.get(group)
        kind = section.get("kind") if isinstance(section, Mapping) else None
        if group not in RECIPES and isinstance(kind, str):
            kinds[group] = kind
    choices = {group: kind for group, kind in kinds.items() if kind in options_of(group)}
    # Files of data are named by what they hold: several are of one kind.
    kind_line = f"\nkind: {kinds.get('data')}\n"
    same = [option for option in options_of("data") if kind_line in text_of(f"data/{option}.yaml")]
    candidates = [{**choices, "data": option} for option in same] or [choices]
    found: list[tuple[int, dict[str, str], Differences]] = []
    for candidate in candidates:
        try:
            defaults = _compose(verb, tuple(candidate.items()))
        except ConfigError:
            continue
        differing = _differences(config, defaults)
        found.append((len(differing), candidate, differing))
    assert found, "the defaults of each verb can be composed"
    _, best, differing = min(found, key=lambda one: one[0])
    return best, differing


@functools.cache
def _compose(verb: str, choices: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException

    from mlembed.door.composed import to_plain

    overrides = [f"{group}={choice}" for group, choice in choices]
    try:
        with initialize_config_module("mlembed.conf", version_base="1.3"):
            return to_plain(compose(config_name=verb, overrides=overrides))
    except HydraException as error:
        raise ConfigError(str(error)) from error


def _differences(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> Differences:
    before = dict(leaves(defaults))
    differing = []
    for key, value in leaves(config):
        default = before.get(key, ABSENT)
        # A single text stands for a list of one.
        if not key.startswith("run.") and value != default and value != [default]:
            differing.append((key, value, UNKNOWN if default is ABSENT else default))
    return differing


def shown(value: Any) -> str:
    """A value as it is written on the command line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
