"""Measure a model by language: a run's student, a checkpoint, or any model folder."""

from __future__ import annotations

import contextlib
import dataclasses
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
from mlembed.run.directory import (
    CHECKPOINTS,
    COMMAND,
    CONFIG,
    LOG,
    MTEB_SCORES,
    REPORT,
    STUDENT,
    hold,
    new_run_path,
)
from mlembed.run.page import write_page
from mlembed.run.results import print_report, write_report
from mlembed.run.run_log import logging_to
from mlembed.run.start import read_stored_config
from mlembed.signals import StopRequest
from mlembed.tasks.held_out import Encode, HeldOut
from mlembed.tasks.vector_details import VectorDetails
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
    with StopRequest() as stop, hold(path) as run, logging_to(path / LOG, quiet=False):
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
        write_page(run.path)
        log.info("done: %s", run.path)
        return report.mean(report.main_metric() or "retrieval")


def _was_cut_short(path: Path) -> bool:
    """Whether an evaluation was begun here that has no results: nothing is lost when it is done again."""
    has_results = (path / REPORT).exists() or (path / MTEB_SCORES).exists()
    return not has_results and "target" in read_stored_config(path)


def _evaluate_vectors(config: EvalConfig, folder: Path, *, machine: Machine) -> Report:
    """Measure an encoder, beside its teacher where one is named."""
    test, counts = load_test(config.data, seed=config.seed)
    student = load_encoder(folder, key="target")
    if config.width is not None and config.width > student.width:
        raise ConfigError(f"width: {config.width} is more than the {student.width} dimensions of {folder}")
    shown = VectorDetails(test, source_language=config.data.source_language)
    systems, details = {}, shown.start()
    if config.teacher.name is not None:
        vectors = _read_teacher(config, test, student=folder, machine=machine)
        systems["teacher"] = test.score(vectors, seed=config.seed)
        details = details.with_system("teacher", shown.of_system(vectors))
    student.to(machine.compute.device)
    vectors = test.read(_cut(functools.partial(machine.encode, student, what="student"), width=config.width))
    systems["student"] = test.score(vectors, seed=config.seed)
    details = details.with_system("student", shown.of_system(vectors))
    details = dataclasses.replace(details, hard_rows=shown.hard_rows(vectors))
    metadata = {"data": counts, "target": str(folder), "teacher": config.teacher.name, "width": config.width}
    return Report(systems, test_set=test.name, metadata=metadata, details=details)


def _read_teacher(config: EvalConfig, test: HeldOut, *, student: Path, machine: Machine) -> Encode:
    """The teacher's vectors of the test set, which remembers them; those in the store are not computed again."""
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
        vectors = test.read(encode)
        teaching.tell()
    return vectors


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
