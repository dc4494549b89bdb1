"""The models of a run, from its configuration: teacher, student, and how the student starts."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from mlembed.config import Loss, MatryoshkaLoss
from mlembed.config_model import CopiedStudent, Model, PretrainedModel, StaticModel, Student, Teacher
from mlembed.data.corpus import Corpus
from mlembed.data.order import order_key, shuffled
from mlembed.errors import ConfigError
from mlembed.fingerprint import folder_fingerprint
from mlembed.machine import Machine
from mlembed.models.encoder import Dense, Encoder, load_encoder
from mlembed.models.folder import model_folder
from mlembed.models.reduction import explained, fit_reduction
from mlembed.models.student import freeze
from mlembed.starts import Ground, start_copy, start_pretrained, start_static
from mlembed.teaching import Teaching

log = logging.getLogger("mlembed")

# Sources that a reduction of the teacher is fitted on, at most.
REDUCTION_SOURCES = 20_000


@dataclass(frozen=True)
class Models:
    """Teacher and student, and what else is known of them.

    Args:
        teacher: frozen; with its reduction, where it has one, as its last dense layer.
        student: with some parameters frozen, if that was asked for.
        reduction: the teacher's last dense layer, where its vectors are reduced.
        frozen: number of the student's parameters that stay as they are.
        fingerprints: of what teacher and student were loaded from.
        teaching: what knows the teacher's vectors.
    """

    teacher: Encoder
    student: Encoder
    reduction: Dense | None
    frozen: int
    fingerprints: dict[str, str]
    teaching: Teaching


def load_models(model: Model, *, loss: Loss, corpus: Corpus, machine: Machine, seed: int) -> Models:
    """Load the teacher and start the student.

    Args:
        model: the `model` section of the configuration.
        loss: the `loss` section.
        corpus: the training groups, which vocabularies, reductions and warm starts are fitted on.
        machine: where the models go.
        seed: of new weights.

    Raises:
        ConfigError: a model is not there, or does not fit.
    """
    folder = model_folder(model.teacher.name, key="model.teacher.name")
    teacher = load_encoder(folder, key="model.teacher.name", max_length=model.teacher.max_length)
    teacher.requires_grad_(False).to(machine.compute.device)
    fingerprints = {"teacher model": folder_fingerprint(folder)}
    fingerprint = fingerprints["teacher model"]
    teaching = Teaching(teacher, name=model.teacher.name, fingerprint=fingerprint, machine=machine)
    reduction = _reduce(teacher, teaching, model.teacher, loss=loss, corpus=corpus, seed=seed)
    ground = Ground(teacher, folder, fingerprint, reduction, corpus, machine, teaching, seed)
    if isinstance(model, StaticModel):
        student = start_static(model, ground)
    elif isinstance(model, PretrainedModel):
        student, fingerprints["student model"] = start_pretrained(model, ground)
    else:
        student = start_copy(model, ground)
    _check_widths(loss, student)
    student.to(machine.compute.device)
    return Models(teacher, student, reduction, _freeze(student, model.student), fingerprints, teaching)


def _reduce(
    teacher: Encoder, teaching: Teaching, settings: Teacher, *, loss: Loss, corpus: Corpus, seed: int
) -> Dense | None:
    """Give the teacher a last layer that orders its dimensions by importance, and may leave the last ones out."""
    if settings.width is None and not isinstance(loss, MatryoshkaLoss):
        return None
    width = settings.width or teacher.width
    if width > teacher.width:
        raise ConfigError(f"model.teacher.width: {width} is more than the teacher's {teacher.width} dimensions")
    count = min(REDUCTION_SOURCES, corpus.source_count)
    chosen = shuffled(np.arange(count), corpus.source_count, key=order_key(seed))
    vectors_ND = teaching.encode(corpus.texts[np.sort(chosen)], what="reduction")
    if width > len(vectors_ND):
        raise ConfigError(
            f"model.teacher.width: {len(vectors_ND)} sources are too few to find {width} dimensions in; "
            "give more data, or fewer dimensions"
        )
    reduction = fit_reduction(vectors_ND, width=width)
    share = 100 * explained(reduction, vectors_ND)
    log.info("teacher: %d of %d dimensions, by PCA, keep %.1f %%", width, teacher.width, share)
    teacher.dense.append(reduction.requires_grad_(False).to(teaching.machine.compute.device))
    return reduction


def _check_widths(loss: Loss, student: Encoder) -> None:
    if isinstance(loss, MatryoshkaLoss) and max(loss.widths) > student.width:
        raise ConfigError(f"loss.widths: {max(loss.widths)} is more than the student's {student.width} dimensions")


def _freeze(student: Encoder, settings: Student) -> int:
    if not isinstance(settings, CopiedStudent):
        return 0
    return freeze(student, patterns=settings.freeze, train_top_layers=settings.train_top_layers)
