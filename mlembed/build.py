"""The models of a run, from its configuration: teacher, student, and how the student starts."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from mlembed.config import Model, PretrainedModel, TransplantModel
from mlembed.data.corpus import Corpus
from mlembed.fingerprint import folder_fingerprint
from mlembed.machine import Machine
from mlembed.models.depth import keep_layers
from mlembed.models.encoder import Encoder, load_encoder
from mlembed.models.folder import model_folder
from mlembed.models.student import copy_student, pooled, pretrained_student
from mlembed.models.transplant import transplant
from mlembed.models.warm_start import fit_ridge

log = logging.getLogger("mlembed")


@dataclass(frozen=True)
class Models:
    """Teacher and student, and the fingerprints of what they were loaded from."""

    teacher: Encoder
    student: Encoder
    fingerprints: dict[str, str]


def load_models(model: Model, *, corpus: Corpus, machine: Machine, seed: int) -> Models:
    """Load the teacher and start the student.

    Args:
        model: the `model` section of the configuration.
        corpus: the training groups, which a warm start is fitted on.
        machine: where the models go.
        seed: of new weights.

    Raises:
        ConfigError: a model is not there, or does not fit.
    """
    folder = model_folder(model.teacher.name, key="model.teacher.name")
    teacher = load_encoder(folder, key="model.teacher.name", max_length=model.teacher.max_length)
    teacher.requires_grad_(False).to(machine.compute.device)
    fingerprints = {"teacher model": folder_fingerprint(folder)}
    if isinstance(model, PretrainedModel):
        student_folder = model_folder(model.student.name, key="model.student.name")
        fingerprints["student model"] = folder_fingerprint(student_folder)
        student = _pretrained(model, student_folder, teacher=teacher, seed=seed).to(machine.compute.device)
        differs = fingerprints["student model"] != fingerprints["teacher model"]
        if model.warm_start == "ridge" or (model.warm_start == "auto" and differs):
            warm_start(
                student, teacher=teacher, corpus=corpus, machine=machine, count=model.warm_start_texts, seed=seed
            )
    else:
        student = copy_student(folder, max_length=model.student.max_length, dropout=model.student.dropout)
        _drop_layers(student, model.student.keep_layers)
        if isinstance(model, TransplantModel):
            _transplant(model, student, corpus=corpus, seed=seed)
    return Models(teacher, student.to(machine.compute.device), fingerprints)


def _pretrained(model: PretrainedModel, folder: Path, *, teacher: Encoder, seed: int) -> Encoder:
    student = pretrained_student(
        folder,
        teacher=teacher,
        pooling=None if model.student.pooling == "auto" else model.student.pooling,
        max_length=model.student.max_length,
        dropout=model.student.dropout,
        seed=seed,
    )
    # Before a warm start, which is fitted to the layers that there are.
    _drop_layers(student, model.student.keep_layers)
    return student


def _transplant(model: TransplantModel, student: Encoder, *, corpus: Corpus, seed: int) -> None:
    transplant(
        student,
        corpus.texts,
        pairs=np.stack([corpus.members, corpus.source_of_members], axis=1),
        vocabulary=model.vocabulary,
        size=model.vocabulary_size,
        min_frequency=model.min_frequency,
        seed=seed,
    )


def _drop_layers(student: Encoder, kept: list[int] | None) -> None:
    if kept is not None:
        keep_layers(student, kept)


def warm_start(student: Encoder, *, teacher: Encoder, corpus: Corpus, machine: Machine, count: int, seed: int) -> None:
    """Fit the student's dense layer in closed form, so that it answers like the teacher before its first step.

    Args:
        student: its dense layers are replaced by the fitted one.
        teacher: what it is to answer like.
        corpus: sources and translations to fit on.
        machine: what encodes them.
        count: how many texts to fit on, drawn at random from all.
        seed: of the draw.
    """
    text_E = np.concatenate([np.arange(corpus.source_count), corpus.members])
    source_E = np.concatenate([np.arange(corpus.source_count), corpus.source_of_members])
    chosen = np.random.Generator(np.random.PCG64(seed)).permutation(len(text_E))[:count]
    wanted, where_N = np.unique(source_E[chosen], return_inverse=True)
    teacher_ND = machine.encode(teacher, [corpus.texts[at] for at in wanted], what="warm start")[where_N]
    with pooled(student):
        student_ND = machine.encode(student, [corpus.texts[at] for at in text_E[chosen]], what="warm start")
    fit = fit_ridge(student_ND, teacher_ND, source_N=source_E[chosen], seed=seed)
    student.dense = nn.ModuleList([fit.layer.to(machine.compute.device)])
    log.info("warm start: cosine to the teacher %.3f on held-out texts (ridge %g)", fit.cosine, fit.ridge)
