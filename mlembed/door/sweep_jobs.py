"""The jobs of a sweep, listed before the first is run, and the folder that they go to."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict
from pydantic import BaseModel

from mlembed.door.composed import to_plain
from mlembed.door.overrides import keys
from mlembed.errors import ConfigError
from mlembed.run.sweep import finished_jobs
from mlembed.run.sweep_folder import SweepJob, find_sweep, hold_sweep, read_record

# More combinations than this are not looked through: it would take longer than the first job does.
MOST_CHECKED = 200
# Keys that name one run, and that jobs must not share.
ONE_RUN = {"run.dir": "give run.root=FOLDER, or hydra.sweep.dir=FOLDER for the sweep's own folder", "run.resume": ""}


def check_jobs(
    config: DictConfig, *, settle: Callable[[dict[str, Any], list[str]], BaseModel]
) -> tuple[list[str], list[SweepJob]]:
    """Make the configuration of each job of a sweep, and keep what it can be known by.

    Args:
        config: what Hydra composed for the sweep as a whole.
        settle: makes the configuration that counts from a composed one and the keys that were given.

    Returns:
        The settings in which each job differs from others, `loss=mse optimizer.lr=0.1`, and what the jobs are known
        by; empty lists where the sweeper itself decides what is tried.

    Raises:
        ConfigError: some jobs cannot be run; the message has each problem once, with the first job that has it.
    """
    for key in keys(config.hydra.overrides.task):
        if key in ONE_RUN:
            raise ConfigError(f"{key} is of one run and cannot be given with -m; {ONE_RUN[key]}".rstrip("; "))
    loader = GlobalHydra.instance().config_loader()
    problems: dict[str, list[str]] = {}
    jobs = list(_combinations(config))
    known = [SweepJob.of(label, {"overrides": overrides}) for label, overrides in jobs]
    for number, (label, overrides) in enumerate(jobs[:MOST_CHECKED]):
        job = loader.load_sweep_config(config, overrides)
        with open_dict(job):
            job.hydra.job.id, job.hydra.job.num = str(number), number
        HydraConfig.instance().set_config(job)
        composed = OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"])
        try:
            _check_folder(job, config)
            settled = settle(to_plain(composed), keys(overrides))
            known[number] = SweepJob.of(label, settled.model_dump(mode="json"))
        except ConfigError as error:
            problems.setdefault(str(error), []).append(label)
    if problems:
        # A problem of all jobs is not one of the values that are swept over.
        heads = ["" if len(labels) == len(jobs[:MOST_CHECKED]) else f"{labels[0]}: " for labels in problems.values()]
        raise ConfigError("\n".join(f"{head}{problem}" for head, problem in zip(heads, problems, strict=True)))
    return [label for label, _ in jobs], known


@contextmanager
def take_up_sweep(config: DictConfig, jobs: Sequence[SweepJob], *, command: str) -> Iterator[Path]:
    """Hold the folder of a sweep: that of an earlier start of the same one, or a new one.

    Args:
        config: what Hydra composed for the sweep as a whole.
        jobs: what they are known by; a sweep without is not found again.
        command: what was given.

    Returns:
        A context: the folder.

    Raises:
        ConfigError: the folder is something else, or is in use.
    """
    stamp = os.environ["MLEMBED_STAMP"]
    new = folder = Path(config.hydra.sweep.dir).absolute()
    found, running = find_sweep(folder, jobs, stamp=stamp)
    if found is not None:
        folder = found.folder
        # Each job makes the name of the folder anew, some in other processes.
        os.environ["MLEMBED_STAMP"] = folder.name.removeprefix(new.name.removesuffix(stamp))
    is_known = read_record(folder) is not None
    with hold_sweep(folder, jobs, command=command):
        if is_known and jobs:
            _tell(folder, finished=len(finished_jobs(folder)), count=len(jobs), is_named=found is None)
        for one in running:
            print(f"the same sweep is running in {one}; this one is another, in {folder}", file=sys.stderr)
        yield folder


def _tell(folder: Path, *, finished: int, count: int, is_named: bool) -> None:
    if finished < count:
        print(f"going on with the sweep in {folder}: {finished} of {count} jobs are finished", file=sys.stderr)
        return
    another = "another hydra.sweep.dir" if is_named else "another run.name or hydra.sweep.dir=FOLDER"
    print(f"the sweep in {folder} is finished already; for a new one give {another}", file=sys.stderr)


def _check_folder(job: DictConfig, sweep: DictConfig) -> None:
    """All jobs lie in the folder of the sweep."""
    if job.hydra.sweep.dir != sweep.hydra.sweep.dir:
        raise ConfigError(
            "all jobs of a sweep lie in one folder, named by run.root and run.name (which is the task, if not given): "
            "give one run.root=FOLDER and one run.name=NAME"
        )


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
