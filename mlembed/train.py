"""`mlembed train`: a run directory, a machine, and a session in it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from mlembed.config import TrainConfig
from mlembed.label_session import LabelSession
from mlembed.machine import encoding_tokens, make_machine
from mlembed.progress import choose_progress
from mlembed.report.report import Report
from mlembed.run.directory import Follower
from mlembed.run.page import write_page
from mlembed.run.results import print_report
from mlembed.run.resume import open_run
from mlembed.run.sweep import summarize
from mlembed.run.trackers.tracking import check_installed, tracking
from mlembed.session import Session
from mlembed.signals import StopRequest

log = logging.getLogger("mlembed")


def train(config: TrainConfig, *, sweep_dir: str | None = None, followers: Sequence[Follower] = ()) -> float:
    """Train, evaluate and export, and leave a run directory.

    Args:
        config: the validated configuration.
        sweep_dir: the folder of the sweep that this run is a job of.
        followers: called with each record of metrics.jsonl; what one of them raises ends the run.

    Returns:
        The configured metric of the best student on the test set: the objective of a sweep.

    Raises:
        MlembedError: with a message for the user and an exit code.
    """
    check_installed(config.trackers.use)
    with StopRequest() as stop, open_run(config) as (run, config, processes, goes_on):
        torch.manual_seed(config.seed + processes.rank)
        machine = make_machine(
            device=config.trainer.device,
            precision=config.trainer.precision,
            processes=processes,
            stop=stop,
            progress=choose_progress(config.trainer.progress),
            batch_tokens=encoding_tokens(config.trainer.batch_tokens, device=config.trainer.device),
        )
        settings = config.trainer.model_copy(update={"precision": machine.compute.precision})
        config = config.model_copy(update={"trainer": settings})
        if processes.is_first and not goes_on:
            run.write_start(config.model_dump(mode="json"))
        log.info("run directory: %s", run.path)
        session = Session if config.task.kind == "embedding" else LabelSession
        with tracking(config, run, is_first=processes.is_first) as trackers:
            run.followers = [trackers.record, *followers]
            report = session(config, run=run, machine=machine).train(goes_on=goes_on)
            trackers.report(report)
        if processes.is_first:
            print_report(report)
            write_page(run.path)
            log.info("done: %s; the student is in %s", run.path, run.student)
            if sweep_dir is not None:
                summarize(Path(sweep_dir))
        return report.value(config.trainer.metric) if _has(report, config.trainer.metric) else float("nan")


def _has(report: Report, metric: str) -> bool:
    return metric.partition("/")[0] in report.metrics()
