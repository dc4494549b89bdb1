"""What Hydra composed, as plain values, and what it found wrong, in words."""

from __future__ import annotations

import re
from typing import Any

from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlembed.config import GROUPS, SCHEMAS
from mlembed.config_door import names_of, nearest
from mlembed.errors import ConfigError, MlembedError

# What a new user writes, thinking that a group takes any value.
INSTEAD = {
    "data": "; for your own files write data=files data.train=PATH, for a dataset data=hub data.name=NAME",
    "model": "; for a model of your own write model=pretrained model.student.name=NAME",
}


def to_plain(composed: DictConfig) -> dict[str, Any]:
    """The composed configuration as nested dicts, interpolations resolved.

    Raises:
        ConfigError: an interpolation names something that is not there.
    """
    try:
        plain = OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def explain(error: Exception, verb: str) -> str:
    """Say in words for the user what Hydra found wrong, with the nearest name that exists."""
    if isinstance(error, MlembedError):
        return str(error)
    text = str(error)
    known = [*names_of(SCHEMAS[verb]), *GROUPS[verb]]
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = str(error.missing_cfg_file).replace("//", "/").partition("/")
        hint = nearest(name, error.options) or INSTEAD.get(group, "")
        return f"{group}={name}: there is no such choice; the choices are {', '.join(error.options)}{hint}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return f"--config-name {error.missing_cfg_file}: there is no such file; --config-dir FOLDER says where it lies"
    if match := re.match(r"Ambiguous value for argument '(?:\+\+)?([^=]*)=(.*)'\n", text):
        key, value = match.groups()
        return f"{key}={value}: a list is written [{value}], a sweep over these values needs -m, one text quotes"
    if match := re.search(r"Could not (?:override|append|delete)[^']*'([^'=]+)'?", text):
        key = match.group(1).lstrip("+~")
        if "No match" in text or "already at" not in text:
            return f"{key}: there is no such key{nearest(key, [name for name in known if name != key])}"
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("See https")]
    return "the command line or a YAML file cannot be read: " + "\n  ".join(lines or [type(error).__name__])
