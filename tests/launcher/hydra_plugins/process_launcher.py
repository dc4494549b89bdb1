"""A Hydra launcher that runs each job in a process of its own, as those of joblib and of clusters do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from joblib import Parallel, delayed
from omegaconf import DictConfig, open_dict


class ProcessLauncher(Launcher):
    """Two jobs at a time."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        state = Singleton.get_state()
        runs: Any = Parallel(n_jobs=2, backend="loky")(
            delayed(run_in_process)(number, list(overrides), self.context, self.config, self.task, state)
            for number, overrides in enumerate(job_overrides, start=initial_job_idx)
        )
        return list(runs)


def run_in_process(
    number: int, overrides: list[str], context: HydraContext, config: DictConfig, task: TaskFunction, state: Any
) -> JobReturn:
    setup_globals()
    Singleton.set_state(state)
    job = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(job):
        job.hydra.job.id, job.hydra.job.num = str(number), number
    HydraConfig.instance().set_config(job)
    return run_job(
        hydra_context=context,
        config=job,
        task_function=task,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
