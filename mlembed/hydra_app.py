"""Hydra at the door: compose the configuration, sweep, complete; its errors become ours."""

from __future__ import annotations

import os
import re
import secrets
import sys
import time
from collections.abc import Callable
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlembed.config import EvalConfig, TrainConfig
from mlembed.config_door import keys_of, nearest
from mlembed.errors import ConfigError, MlembedError

SCHEMAS = {"train": TrainConfig, "eval": EvalConfig}
GROUPS = ("task", "model", "data", "loss", "optimizer", "trainer", "experiment", "debug")
FLAGS_WITH_VALUE = {"--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn", "--package", "-p"}


class _Ended(BaseException):
    """Carries an error past Hydra, which catches what is an `Exception`."""

    def __init__(self, error: MlembedError) -> None:
        super().__init__()
        self.error = error


Job = Callable[[dict[str, Any], list[str], str | None], float | None]


def run_app(config_name: str, arguments: list[str], job: Job) -> None:
    """Compose a configuration and run the job with it, once or, with `-m`, for each combination.

    Args:
        config_name: `train` or `eval`.
        arguments: Hydra's command line, without the verb.
        job: gets the composed configuration as a plain dict, the keys that the command line set, and the folder of
            the sweep (None outside a sweep); what it returns is the objective of the sweep.

    Raises:
        ConfigError: for everything that Hydra finds wrong.
    """
    # A name that all jobs of a sweep share, also those that a launcher starts in other processes.
    os.environ.setdefault("MLEMBED_STAMP", f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(2)}")
    # Without it Hydra prints errors itself and ends the process with its own exit code.
    os.environ["HYDRA_FULL_ERROR"] = "1"

    def task(composed: DictConfig) -> float | None:
        plain = OmegaConf.to_container(composed, resolve=True)
        assert isinstance(plain, dict)
        settings = HydraConfig.get()
        sweep_dir = None
        if settings.mode == RunMode.MULTIRUN:
            sweep_dir = os.path.abspath(settings.sweep.dir)
            if plain["run"]["dir"] is None:
                plain["run"]["dir"] = settings.runtime.output_dir
        try:
            return job(plain, _keys(list(settings.overrides.task)), sweep_dir)
        except MlembedError as error:
            if sweep_dir is not None:
                raise
            # Past Hydra, which would print a line of its own; in a sweep it must see that the job failed.
            raise _Ended(error) from error

    old_arguments = sys.argv
    sys.argv = ["mlembed", *quote_overrides(arguments)]
    try:
        hydra.main(version_base="1.3", config_path="pkg://mlembed.conf", config_name=config_name)(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, config_name)) from error
    except _Ended as ended:
        raise ended.error from ended.error.__cause__
    finally:
        sys.argv = old_arguments
        GlobalHydra.instance().clear()


def complete(arguments: list[str], *, verbs: list[str]) -> int:
    """Answer the shell's completion: verbs first, then what Hydra offers for the verb's configuration.

    Hydra takes the first word of the line for the program and the rest for overrides, so the verb is taken out.
    """
    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    if any("query=" in argument for argument in arguments):
        if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
            begun = words[1] if len(words) > 1 else ""
            print(" ".join(verb for verb in verbs if verb.startswith(begun)))
            return 0
        os.environ["COMP_LINE"] = line.replace(f" {words[1]}", "", 1)
    verb = words[1] if len(words) > 1 and words[1] in SCHEMAS else "train"
    run_app(verb, arguments, lambda *_: None)
    return 0


def path_override(key: str, value: str) -> str:
    """`key='value'`, quoted for Hydra's grammar."""
    escaped = re.sub(r"(\\*)'", lambda match: match.group(1) * 2 + r"\'", value)
    escaped = re.sub(r"(\\+)$", lambda match: match.group(1) * 2, escaped)
    return f"{key}='{escaped}'"


def quote_overrides(arguments: list[str]) -> list[str]:
    """Quote the values that Hydra's grammar cannot read as they are: `run.name=français`, `data.train=/a b/c=d.tsv`."""
    parser = OverridesParser.create()
    quoted: list[str] = []
    for at, argument in enumerate(arguments):
        key, equals, value = argument.partition("=")
        is_override = equals and not argument.startswith("-") and not (at and arguments[at - 1] in FLAGS_WITH_VALUE)
        quoted.append(_quote(parser, key, value) if is_override else argument)
    return quoted


def _quote(parser: OverridesParser, key: str, value: str) -> str:
    if _parses(parser, f"{key}={value}"):
        return f"{key}={value}"
    if value.startswith("[") and value.endswith("]") and not set(value[1:-1]) & set("[]{}'\""):
        items = [item.strip() for item in value[1:-1].split(",")]
        items = [item if _parses(parser, f"key={item}") else path_override("", item)[1:] for item in items]
        return f"{key}=[{','.join(items)}]"
    if value[:1] in "[{'\"(":
        return f"{key}={value}"
    return path_override(key, value)


def _parses(parser: OverridesParser, override: str) -> bool:
    try:
        parser.parse_override(override)
    except HydraException:
        return False
    return True


def _keys(overrides: list[str]) -> list[str]:
    """The dotted keys (or groups) that overrides set."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    return [override.key_or_group.replace("/", ".") for override in parsed]


def explain(error: Exception, config_name: str) -> str:
    """Say in words for the user what Hydra found wrong, with the nearest name that exists."""
    text = str(error)
    known = [*keys_of(SCHEMAS[config_name]), *GROUPS]
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        choices = ", ".join(error.options)
        return f"{group}={name}: there is no such choice{nearest(name, error.options)} The choices are {choices}."
    if match := re.search(r"Could not (?:override|append|delete)[^']*'([^'=]+)'?", text):
        key = match.group(1).lstrip("+~")
        cause = str(error.__cause__ or "")
        if key in known and "." in key:
            section = key.rpartition(".")[0]
            return f"{key}: the chosen {section} has no such key; another one of {section}=... has"
        if "Key" in cause or "No match" in text or "struct" in cause:
            return f"{key}: there is no such key{nearest(key, known)}"
    lines = [line.strip() for line in text.splitlines() if line.strip() and "HYDRA_FULL_ERROR" not in line]
    return "the command line or a YAML file cannot be read: " + "\n  ".join(lines)
