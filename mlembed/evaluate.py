"""Measure a model by language: a run's student, a checkpoint, or any model folder."""

from __future__ import annotations

import contextlib
import functools
import logging
from pathlib import Path

from mlembed.config import EvalConfig
from mlembed.errors import ConfigError
from mlembed.evaluate_labels import evaluate_labels, has_labels
from mlembed.evaluate_mteb import evaluate_mteb, mteb_tasks
from mlembed.fingerprint import folder_fingerprint
from mlembed.machine import Machine, make_machine
from mlembed.models.encoder import load_encoder
from mlembed.models.folder import is_model_folder, model_folder
from mlembed.models.reduction import read_reduction
from mlembed.prepare import load_test
from mlembed.progress import choose_progress
from mlembed.report.report import Report
from mlembed.run.checkpoint import MANIFEST, verify
from mlembed.run.directory import CHECKPOINTS, COMMAND, CONFIG, REPORT, STUDENT, hold, logging_to, new_run_path
from mlembed.run.results import print_report, write_report
from mlembed.run.start import read_stored_config
from mlembed.signals import StopRequest
from mlembed.tasks.held_out import Encode, HeldOut, Scores
from mlembed.teaching import Teaching

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
    tasks = mteb_tasks(config.mteb) if config.mteb else []
    path = Path(config.run.dir) if config.run.dir else new_run_path(root=Path(config.run.root), name=config.run.name)
    if (path / CONFIG).exists() and not _was_cut_short(path):
        raise ConfigError(f"run.dir: {path} holds a run already, which would be lost; give another folder")
    with StopRequest() as stop, hold(path) as run, logging_to(path / "log.txt", quiet=False):
        run.write_start(config.model_dump(mode="json"))
        if tasks:
            score = evaluate_mteb(tasks, folder, output=run.path)
            log.info("done: %s", run.path)
            return score
        machine = make_machine(
            device=config.device,
            precision=config.precision,
            processes=None,
            stop=stop,
            progress=choose_progress("auto"),
            batch_tokens=config.batch_tokens,
        )
        evaluation = evaluate_labels if has_labels(config, folder) else _evaluate_vectors
        report = evaluation(config, folder, machine=machine)
        write_report(report, run.path)
        print_report(report)
        log.info("done: %s", run.path)
        return report.mean(report.main_metric() or "retrieval")


def _was_cut_short(path: Path) -> bool:
    """Whether an evaluation was begun here that has no results: nothing is lost when it is done again."""
    return not (path / REPORT).exists() and "target" in read_stored_config(path)


def _evaluate_vectors(config: EvalConfig, folder: Path, *, machine: Machine) -> Report:
    """Measure an encoder, beside its teacher where one is named."""
    test, counts = load_test(config.data, seed=config.seed)
    student = load_encoder(folder, key="target")
    if config.width is not None and config.width > student.width:
        raise ConfigError(f"width: {config.width} is more than the {student.width} dimensions of {folder}")
    systems = {}
    if config.teacher.name is not None:
        systems["teacher"] = _measure_teacher(config, test, student=folder, machine=machine)
    student.to(machine.compute.device)
    encode = _cut(functools.partial(machine.encode, student, what="student"), width=config.width)
    systems["student"] = test.measure(encode, seed=config.seed)
    metadata = {"data": counts, "target": str(folder), "teacher": config.teacher.name, "width": config.width}
    return Report(systems, test_set=test.name, metadata=metadata)


def _measure_teacher(config: EvalConfig, test: HeldOut, *, student: Path, machine: Machine) -> Scores:
    """Measure the teacher, and remember its vectors; those that are in the store are not computed again."""
    assert config.teacher.name is not None
    folder = model_folder(config.teacher.name, key="teacher.name")
    teacher = load_encoder(folder, key="teacher.name", max_length=config.teacher.max_length)
    if (reduction := read_reduction(student)) is not None:
        teacher.dense.append(reduction)
    teacher.to(machine.compute.device)
    fingerprint = folder_fingerprint(folder)
    teaching = Teaching(teacher, name=config.teacher.name, fingerprint=fingerprint, machine=machine)
    with contextlib.closing(teaching):
        encode = _cut(teaching.encode, width=config.width)
        test.remember_teacher(encode)
        scores = test.measure(encode, seed=config.seed)
        teaching.tell()
    return scores


def _cut(encode: Encode, *, width: int | None) -> Encode:
    """Texts to the first `width` dimensions of their vectors; None: to all."""
    return lambda texts: encode(texts)[:, :width]


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
    if is_model_folder(path / STUDENT):
        return path / STUDENT
    if (path / CHECKPOINTS).is_dir() or ((path / CONFIG).is_file() and (path / COMMAND).is_file()):
        raise ConfigError(f"{key}: the run {path} has no finished student; give one of its checkpoints, or resume it")
    return model_folder(name, key=key)
