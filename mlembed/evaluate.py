"""Measure a model by language: a run's student, a checkpoint, or any model folder."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

from mlembed.config import EvalConfig
from mlembed.errors import ConfigError
from mlembed.machine import make_machine
from mlembed.models.encoder import load_encoder
from mlembed.models.folder import model_folder
from mlembed.prepare import load_test
from mlembed.progress import choose_progress
from mlembed.report.report import Report
from mlembed.run.checkpoint import MANIFEST, verify
from mlembed.run.directory import CHECKPOINTS, COMMAND, CONFIG, STUDENT, hold, logging_to, new_run_path
from mlembed.run.results import print_report, write_report
from mlembed.signals import StopRequest

log = logging.getLogger("mlembed")


def evaluate(config: EvalConfig) -> float:
    """Measure a model on a test set, beside its teacher where one is named.

    Args:
        config: the validated configuration.

    Returns:
        The mean of the main metric (retrieval, or STS where there is no parallel text).

    Raises:
        MlembedError: with a message for the user and an exit code.
    """
    folder = resolve_model(config.target, key="target")
    path = Path(config.run.dir) if config.run.dir else new_run_path(root=Path(config.run.root), name=config.run.name)
    if (path / CONFIG).exists():
        raise ConfigError(f"run.dir: {path} holds a run already, which would be lost; give another folder")
    with StopRequest() as stop, hold(path) as run, logging_to(path / "log.txt", quiet=False):
        run.write_start(config.model_dump(mode="json"))
        test, counts = load_test(config.data, seed=config.seed)
        machine = make_machine(
            device=config.device,
            precision=config.precision,
            processes=None,
            stop=stop,
            progress=choose_progress("auto"),
            batch_tokens=config.batch_tokens,
        )
        student = load_encoder(folder, key="target").to(machine.compute.device)
        systems = {}
        if config.teacher.name is not None:
            teacher_folder = model_folder(config.teacher.name, key="teacher.name")
            teacher = load_encoder(teacher_folder, key="teacher.name", max_length=config.teacher.max_length)
            encode = functools.partial(machine.encode, teacher.to(machine.compute.device), what="teacher")
            test.remember_teacher(encode)
            systems["teacher"] = test.measure(encode, seed=config.seed)
        systems["student"] = test.measure(functools.partial(machine.encode, student, what="student"), seed=config.seed)
        metadata = {"data": counts, "target": str(folder), "teacher": config.teacher.name}
        report = Report(systems, test_set=test.name, metadata=metadata)
        write_report(report, run.path)
        print_report(report)
        log.info("done: %s", run.path)
        return report.mean(report.main_metric() or "retrieval")


def resolve_model(name: str, *, key: str) -> Path:
    """The model folder of a run directory (its best student), of a checkpoint, or of any other name of a model.

    Raises:
        ConfigError: a checkpoint that does not verify, a run without a student, or no such model.
    """
    path = Path(name).expanduser()
    if (path / MANIFEST).is_file():
        if (problem := verify(path)) is not None:
            raise ConfigError(f"{key}: the checkpoint {path} is damaged: {problem}")
        return path / STUDENT
    if (path / STUDENT / "config.json").is_file():
        return path / STUDENT
    if (path / CHECKPOINTS).is_dir() or ((path / CONFIG).is_file() and (path / COMMAND).is_file()):
        raise ConfigError(f"{key}: the run {path} has no finished student; give one of its checkpoints, or resume it")
    return model_folder(name, key=key)
