"""How a model with a head starts: as it is, from another one, or with a new head on an encoder."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlembed.config_model import CopyModel, Model, PretrainedModel, TransplantModel
from mlembed.data.corpus import Corpus
from mlembed.data.sample import sample_pairs
from mlembed.errors import ConfigError
from mlembed.fingerprint import folder_fingerprint
from mlembed.machine import Machine
from mlembed.models.alignment import ITERATIONS
from mlembed.models.classifier import Classifier, Head, has_head, load_classifier, take_head, with_head
from mlembed.models.depth import keep_layers
from mlembed.models.encoder import Encoder, load_encoder
from mlembed.models.folder import model_folder
from mlembed.models.student import copy_student
from mlembed.models.transplant import transplant

log = logging.getLogger("mlembed")


@dataclass(frozen=True)
class Started:
    """A model before its training.

    Args:
        model: with its head.
        fingerprint: of the folder that it was loaded from.
        knows_labels: whether its head was trained.
    """

    model: Classifier
    fingerprint: str
    knows_labels: bool


def start_teacher(model: Model, head: Head, *, seed: int) -> Started:
    """The teacher of a configuration: a classifier, or an encoder with a new head.

    Args:
        model: the `model` section.
        head: what it is to answer.
        seed: of new weights.

    Raises:
        ConfigError: a model is not there, or answers with other labels.
    """
    folder = model_folder(model.teacher.name, key="model.teacher.name")
    fingerprint = folder_fingerprint(folder)
    limit = model.teacher.max_length
    if has_head(folder):
        teacher = load_classifier(folder, key="model.teacher.name", head=head, max_length=limit)
        return Started(teacher, fingerprint, knows_labels=True)
    encoder = load_encoder(folder, key="model.teacher.name", max_length=limit)
    return Started(with_head(encoder, head, seed=seed), fingerprint, knows_labels=False)


def start_student(
    model: Model,
    head: Head,
    *,
    teacher: Classifier | None,
    teacher_folder: Path | None,
    corpus: Corpus | None,
    machine: Machine,
    seed: int,
) -> Started:
    """The student of a configuration.

    Args:
        model: the `model` section.
        head: what it is to answer.
        teacher: that knows the labels; None: there is none, because there is nothing to distil.
        teacher_folder: the teacher as a model folder.
        corpus: parallel text, which a transplant needs.
        machine: what it computes with.
        seed: of new weights.

    Raises:
        ConfigError: a model is not there, does not fit, or answers with other labels.
    """
    if isinstance(model, PretrainedModel):
        return _pretrained(model, head, teacher=teacher, teacher_folder=teacher_folder, seed=seed)
    assert isinstance(model, CopyModel | TransplantModel)
    base = model_folder(model.teacher.name, key="model.teacher.name")
    folder = teacher_folder or base
    settings = model.student
    encoder = copy_student(folder, max_length=settings.max_length, dropout=settings.dropout)
    _drop_layers(encoder, settings.keep_layers)
    if isinstance(model, TransplantModel):
        _transplant(model, encoder, corpus, machine=machine, seed=seed)
    student = with_head(encoder, head, seed=seed, dropout=settings.dropout)
    if teacher is not None:
        take_head(student, teacher)
    return Started(student, folder_fingerprint(base), knows_labels=teacher is not None)


def _pretrained(
    model: PretrainedModel, head: Head, *, teacher: Classifier | None, teacher_folder: Path | None, seed: int
) -> Started:
    """The student of its own folder; where that is the teacher's, it starts with what the teacher has learnt."""
    settings = model.student
    folder = model_folder(settings.name, key="model.student.name")
    fingerprint = folder_fingerprint(folder)
    limits: dict[str, Any] = {"max_length": settings.max_length, "dropout": settings.dropout}
    if has_head(folder):
        student = load_classifier(folder, key="model.student.name", head=head, **limits)
        return Started(student, fingerprint, knows_labels=True)
    base = folder_fingerprint(model_folder(model.teacher.name, key="model.teacher.name")) if teacher else None
    is_same = fingerprint == base and settings.keep_layers is None and teacher_folder is not None
    if is_same and teacher_folder is not None:
        student = load_classifier(teacher_folder, key="model.teacher.name", head=head, **limits)
        return Started(student, fingerprint, knows_labels=True)
    encoder = load_encoder(folder, key="model.student.name", **limits)
    _drop_layers(encoder, settings.keep_layers)
    return Started(with_head(encoder, head, seed=seed, dropout=settings.dropout), fingerprint, knows_labels=False)


def _drop_layers(encoder: Encoder, kept: list[int] | None) -> None:
    if kept is not None:
        keep_layers(encoder, kept)


def _transplant(
    model: TransplantModel, encoder: Encoder, corpus: Corpus | None, *, machine: Machine, seed: int
) -> None:
    if corpus is None:
        raise ConfigError(
            "model=transplant learns a vocabulary from parallel text: give data.parallel=PATH, or choose "
            "model=pretrained with a multilingual model, or model=copy"
        )
    with machine.counting("alignment", total=ITERATIONS) as advance:
        texts, pairs = sample_pairs(corpus, seed=seed)
        transplant(
            encoder,
            texts,
            pairs=pairs,
            vocabulary=model.vocabulary,
            size=model.vocabulary_size,
            min_frequency=model.min_frequency,
            seed=seed,
            advance=advance,
        )
