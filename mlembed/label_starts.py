"""How a model with a head starts: as it is, from another one, or with a new head on an encoder."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlembed.config import NEEDS_PARALLEL
from mlembed.config_model import CopyModel, Model, PretrainedModel, TransplantModel
from mlembed.data.corpus import Corpus
from mlembed.errors import ConfigError
from mlembed.fingerprint import folder_fingerprint
from mlembed.machine import Machine
from mlembed.models.bi_encoder import BiEncoder, take_pair_head
from mlembed.models.bi_encoder_folder import compares_texts, has_pair_head, load_bi_encoder
from mlembed.models.classifier import Classifier, Head, take_head, with_head
from mlembed.models.classifier_folder import has_head, load_any_classifier, load_classifier
from mlembed.models.depth import keep_layers
from mlembed.models.encoder import Encoder, load_encoder
from mlembed.models.folder import model_folder
from mlembed.models.student import copy_student
from mlembed.starts import Ground, start_pretrained, transplant_from
from mlembed.teaching import Teaching

log = logging.getLogger("mlembed")

AnsweringModel = Classifier | BiEncoder


@dataclass(frozen=True)
class Started:
    """A model before its training.

    Args:
        model: with its head.
        fingerprint: of the folder that it was loaded from.
        knows_labels: whether its head was trained.
    """

    model: AnsweringModel
    fingerprint: str
    knows_labels: bool


def start_teacher(model: Model, head: Head, *, pooling: str, seed: int) -> Started:
    """The teacher of a configuration: a classifier, or an encoder with a new head.

    Args:
        model: the `model` section.
        head: what it is to answer.
        pooling: what a new head reads.
        seed: of new weights.

    Raises:
        ConfigError: a model is not there, or answers with other labels.
    """
    folder = model_folder(model.teacher.name, key="model.teacher.name")
    fingerprint = folder_fingerprint(folder)
    limit = model.teacher.max_length
    if _knows_labels(folder, head):
        teacher = load_answering(folder, key="model.teacher.name", head=head, max_length=limit)
        return Started(teacher, fingerprint, knows_labels=True)
    encoder = load_encoder(folder, key="model.teacher.name", max_length=limit)
    return Started(_with_head(encoder, head, seed=seed, dropout=None, pooling=pooling), fingerprint, knows_labels=False)


def load_answering(
    folder: Path, *, key: str, head: Head, max_length: int | None = None, dropout: float | None = None
) -> AnsweringModel:
    """Load a model that was trained to answer; see `load_classifier` and `load_bi_encoder`."""
    if head.of == "vectors":
        return load_bi_encoder(folder, key=key, head=head, max_length=max_length, dropout=dropout)
    return load_classifier(folder, key=key, head=head, max_length=max_length, dropout=dropout)


def load_any_answering(folder: Path, *, key: str) -> AnsweringModel:
    """Load a model with the head that its folder has; a sentence encoder answers with cosines.

    Raises:
        ConfigError: when the folder cannot be loaded, or has no head and is no sentence encoder.
    """
    return load_bi_encoder(folder, key=key) if compares_texts(folder) else load_any_classifier(folder, key=key)


def _knows_labels(folder: Path, head: Head) -> bool:
    """Whether a model folder has a head of the kind; similarities need none, but every encoder is to learn them."""
    if head.of == "vectors":
        return head.problem != "score" and has_pair_head(folder)
    return has_head(folder)


def _with_head(encoder: Encoder, head: Head, *, seed: int, dropout: float | None, pooling: str) -> AnsweringModel:
    if head.of == "vectors":
        return BiEncoder.of(encoder, head, seed=seed)
    return with_head(encoder, head, seed=seed, dropout=dropout, pooling=pooling)


@dataclass(frozen=True)
class Basis:
    """What a student starts from.

    Args:
        teacher: that knows the answers; None: there is none, because there is nothing to distil.
        teacher_folder: the teacher as a model folder, where it was trained in this run.
        teaching: the store of what the teacher's head reads; None without a teacher.
        corpus: parallel text; None without any.
        machine: what it computes with.
        pooling: what a new head reads: `cls` or `mean`.
        seed: of new weights.
    """

    teacher: AnsweringModel | None
    teacher_folder: Path | None
    teaching: Teaching | None
    corpus: Corpus | None
    machine: Machine
    pooling: str
    seed: int


def start_student(model: Model, head: Head, basis: Basis) -> Started:
    """The student of a configuration.

    Args:
        model: the `model` section.
        head: what it is to answer.
        basis: what it starts from.

    Raises:
        ConfigError: a model is not there, does not fit, or answers with other labels.
    """
    if isinstance(model, PretrainedModel):
        return _pretrained(model, head, basis)
    assert isinstance(model, CopyModel | TransplantModel)
    base = model_folder(model.teacher.name, key="model.teacher.name")
    settings, teacher = model.student, basis.teacher
    folder = basis.teacher_folder or base
    encoder = copy_student(folder, max_length=settings.max_length, dropout=settings.dropout)
    keep_layers(encoder, settings.keep_layers)
    if isinstance(model, TransplantModel):
        _transplant(model, encoder, basis)
    # A teacher that was trained here has that layer already.
    pooling = "cls" if basis.teacher_folder else basis.pooling
    student = _with_head(encoder, head, seed=basis.seed, dropout=settings.dropout, pooling=pooling)
    if isinstance(teacher, Classifier) and isinstance(student, Classifier):
        take_head(student, teacher)
    if isinstance(teacher, BiEncoder) and isinstance(student, BiEncoder):
        take_pair_head(student, teacher)
    return Started(student, folder_fingerprint(base), knows_labels=teacher is not None)


def _pretrained(model: PretrainedModel, head: Head, basis: Basis) -> Started:
    """The student of its own folder; where that is the teacher's, it starts with what the teacher has learnt."""
    settings, folder = model.student, model_folder(model.student.name, key="model.student.name")
    fingerprint = folder_fingerprint(folder)
    limits: dict[str, Any] = {"max_length": settings.max_length, "dropout": settings.dropout}
    if _knows_labels(folder, head):
        student = load_answering(folder, key="model.student.name", head=head, **limits)
        return Started(student, fingerprint, knows_labels=True)
    base = model_folder(model.teacher.name, key="model.teacher.name") if basis.teacher else None
    is_same = base is not None and fingerprint == folder_fingerprint(base) and settings.keep_layers is None
    if is_same and basis.teacher_folder is not None:
        trained = load_answering(basis.teacher_folder, key="model.teacher.name", head=head, **limits)
        return Started(trained, fingerprint, knows_labels=True)
    if isinstance(basis.teacher, BiEncoder) and basis.corpus is not None:
        fitted = _fitted(model, head, basis)
        return Started(fitted, fingerprint, knows_labels=take_pair_head(fitted, basis.teacher))
    pooling = None if settings.pooling == "auto" else settings.pooling
    encoder = load_encoder(folder, key="model.student.name", pooling=pooling, **limits)
    keep_layers(encoder, settings.keep_layers)
    new = _with_head(encoder, head, seed=basis.seed, dropout=settings.dropout, pooling=basis.pooling)
    return Started(new, fingerprint, knows_labels=False)


def _fitted(model: PretrainedModel, head: Head, basis: Basis) -> BiEncoder:
    """An encoder that answers with the teacher's vectors, warm-started where that helps."""
    assert isinstance(basis.teacher, BiEncoder)
    assert basis.corpus is not None
    assert basis.teaching is not None
    folder = basis.teacher_folder or model_folder(model.teacher.name, key="model.teacher.name")
    reader = basis.teacher.reader()
    teaching = basis.teaching.of(reader)
    ground = Ground(reader, folder, folder_fingerprint(folder), None, basis.corpus, basis.machine, teaching, basis.seed)
    student, _ = start_pretrained(model, ground)
    return BiEncoder.of(student, head, seed=basis.seed)


def _transplant(model: TransplantModel, encoder: Encoder, basis: Basis) -> None:
    if basis.corpus is None:
        raise ConfigError(f"model=transplant {NEEDS_PARALLEL}")
    transplant_from(model, encoder, basis.corpus, machine=basis.machine, seed=basis.seed)
