"""The jobs of a sweep, listed before the first is run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from mlembed.door.composed import to_plain
from mlembed.door.overrides import keys
from mlembed.errors import ConfigError

# More combinations than this are not looked through: it would take longer than the first job does.
MOST_CHECKED = 200
# Keys that name one run, and that jobs must not share.
ONE_RUN = {"run.dir": "give run.root=FOLDER, or hydra.sweep.dir=FOLDER for the sweep's own folder", "run.resume": ""}


def check_jobs(config: DictConfig, *, settle: Callable[[dict[str, Any], list[str]], Any]) -> list[str]:
    """Make the configuration of each job of a sweep, and throw it away.

    Args:
        config: what Hydra composed for the sweep as a whole.
        settle: makes the configuration that counts from a composed one and the keys that were given.

    Returns:
        The settings in which each job differs from others, `loss=mse optimizer.lr=0.1`; an empty list where the sweeper
        itself decides what is tried.

    Raises:
        ConfigError: some jobs cannot be run; the message has each problem once, with the first job that has it.
    """
    for key in keys(config.hydra.overrides.task):
        if key in ONE_RUN:
            raise ConfigError(f"{key} is of one run and cannot be given with -m; {ONE_RUN[key]}".rstrip("; "))
    loader = GlobalHydra.instance().config_loader()
    problems: dict[str, list[str]] = {}
    jobs = list(_combinations(config))
    for number, (label, overrides) in enumerate(jobs[:MOST_CHECKED]):
        job = loader.load_sweep_config(config, overrides)
        with open_dict(job):
            job.hydra.job.id, job.hydra.job.num = str(number), number
        HydraConfig.instance().set_config(job)
        composed = OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"])
        try:
            settle(to_plain(composed), keys(overrides))
        except ConfigError as error:
            problems.setdefault(str(error), []).append(label)
    if problems:
        # A problem of all jobs is not one of the values that are swept over.
        heads = ["" if len(labels) == len(jobs[:MOST_CHECKED]) else f"{labels[0]}: " for labels in problems.values()]
        raise ConfigError("\n".join(f"{head}{problem}" for head, problem in zip(heads, problems, strict=True)))
    return [label for label, _ in jobs]


def _combinations(config: DictConfig) -> Iterator[tuple[str, list[str]]]:
    """Each job's overrides, and of these the ones that differ from job to job, as a label."""
    parameters = config.hydra.sweeper.get("params") or {}
    given = [*(f"{key}={value}" for key, value in parameters.items()), *config.hydra.overrides.task]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    choices: dict[str, list[str]] = {}
    for override in parser.parse_overrides(given):
        key = override.get_key_element()
        if override.is_sweep_override() and not override.is_discrete_sweep():
            return  # such as interval(0,1): the sweeper itself decides what is tried
        varies = override.is_sweep_override()
        values = override.sweep_string_iterator() if varies else [override.get_value_element_as_str()]
        choices[key] = [f"{key}={value}" for value in values]
    varied = [len(values) > 1 for values in choices.values()]
    for overrides in itertools.product(*choices.values()):
        label = " ".join(one.removeprefix("++") for one, varies in zip(overrides, varied, strict=True) if varies)
        yield label, list(overrides)
