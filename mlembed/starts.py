"""How the student of a run starts, from the `model` section; the ways themselves are in `models/`."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from mlembed.config_model import CopyModel, PretrainedModel, StaticModel, TransplantModel
from mlembed.data.corpus import Corpus
from mlembed.data.order import order_key, shuffled
from mlembed.data.sample import sample_pairs
from mlembed.fingerprint import folder_fingerprint
from mlembed.machine import Machine
from mlembed.models.alignment import ITERATIONS
from mlembed.models.depth import keep_layers
from mlembed.models.encoder import Dense, Encoder
from mlembed.models.folder import model_folder
from mlembed.models.static_start import static_student
from mlembed.models.student import copy_student, pooled, pretrained_student
from mlembed.models.transplant import transplant
from mlembed.models.warm_start import fit_ridge
from mlembed.teaching import Teaching

log = logging.getLogger("mlembed")

# A warm start is fitted on a third of the texts, but on 1,000 at least: fewer leave its ridge too wide.
LARGEST_SHARE, LEAST_TEXTS = 3, 1000


@dataclass(frozen=True)
class Ground:
    """What a student starts from.

    Args:
        teacher: with its reduction, where it has one, as its last dense layer.
        teacher_folder: where it was loaded from.
        teacher_fingerprint: of that folder.
        reduction: the teacher's last dense layer, where its vectors are reduced.
        corpus: the training groups, which vocabularies and warm starts are fitted on.
        machine: what encodes their texts.
        teaching: what knows the teacher's vectors.
        seed: of new weights.
    """

    teacher: Encoder
    teacher_folder: Path
    teacher_fingerprint: str
    reduction: Dense | None
    corpus: Corpus
    machine: Machine
    teaching: Teaching
    seed: int


def start_static(model: StaticModel, ground: Ground) -> Encoder:
    """A table of token vectors, fitted to the teacher."""
    with ground.machine.counting("alignment", total=ITERATIONS) as advance:
        texts, pairs = sample_pairs(ground.corpus, seed=ground.seed)
        return static_student(
            ground.teacher,
            texts,
            pairs=pairs,
            size=model.vocabulary_size,
            min_frequency=model.min_frequency,
            encode_tokens=ground.machine.encode_tokens,
            advance=advance,
            seed=ground.seed,
        )


def start_pretrained(model: PretrainedModel, ground: Ground) -> tuple[Encoder, str]:
    """An encoder of its own, warm-started where that helps; and the fingerprint of its folder."""
    folder = model_folder(model.student.name, key="model.student.name")
    fingerprint = folder_fingerprint(folder)
    student = pretrained_student(
        folder,
        teacher=ground.teacher,
        pooling=None if model.student.pooling == "auto" else model.student.pooling,
        max_length=model.student.max_length,
        dropout=model.student.dropout,
        seed=ground.seed,
    )
    # Before a warm start, which is fitted to the layers that there are.
    keep_layers(student, model.student.keep_layers)
    student.to(ground.machine.compute.device)
    differs = fingerprint != ground.teacher_fingerprint
    if model.warm_start == "ridge" or (model.warm_start == "auto" and differs):
        warm_start(student, ground, count=model.warm_start_texts)
    return student, fingerprint


def start_copy(model: CopyModel | TransplantModel, ground: Ground) -> Encoder:
    """The teacher itself, with fewer layers or a new vocabulary where that was asked for."""
    student = copy_student(ground.teacher_folder, max_length=model.student.max_length, dropout=model.student.dropout)
    if ground.reduction is not None:
        # The student starts as the teacher, so it is reduced alike; it may change its own layer.
        student.dense.append(copy.deepcopy(ground.reduction).requires_grad_(True))
    keep_layers(student, model.student.keep_layers)
    if isinstance(model, TransplantModel):
        transplant_from(model, student, ground.corpus, machine=ground.machine, seed=ground.seed)
    return student


def transplant_from(model: TransplantModel, student: Encoder, corpus: Corpus, *, machine: Machine, seed: int) -> None:
    """Give a copy of the teacher a vocabulary that is learnt from parallel text; see `transplant`."""
    with machine.counting("alignment", total=ITERATIONS) as advance:
        texts, pairs = sample_pairs(corpus, seed=seed)
        transplant(
            student,
            texts,
            pairs=pairs,
            vocabulary=model.vocabulary,
            size=model.vocabulary_size,
            min_frequency=model.min_frequency,
            seed=seed,
            advance=advance,
        )


def warm_start(student: Encoder, ground: Ground, *, count: int) -> None:
    """Fit the student's dense layer in closed form, so that it answers like the teacher before its first step.

    Args:
        student: its dense layers are replaced by the fitted one.
        ground: the teacher, and the sources and translations to fit on.
        count: how many texts to fit on, at most, drawn at random from all; a small corpus gives a third of its texts,
            so that the start costs a ninth of an epoch at most.
    """
    corpus, machine = ground.corpus, ground.machine
    entries = corpus.source_count + len(corpus.members)
    count = min(count, max(LEAST_TEXTS, entries // LARGEST_SHARE), entries)
    chosen_N = shuffled(np.arange(count), entries, key=order_key(ground.seed))
    source_N, text_N = chosen_N.copy(), chosen_N.copy()
    is_member_N = chosen_N >= corpus.source_count
    members = chosen_N[is_member_N] - corpus.source_count
    source_N[is_member_N], text_N[is_member_N] = corpus.source_of_members[members], corpus.members[members]
    wanted, where_N = np.unique(source_N, return_inverse=True)
    teacher_ND = ground.teaching.encode(corpus.texts[wanted], what="warm start")[where_N]
    with pooled(student):
        student_ND = machine.encode(student, corpus.texts[text_N], what="warm start")
    fit = fit_ridge(student_ND, teacher_ND, source_N=source_N, seed=ground.seed)
    student.dense = nn.ModuleList([fit.layer.to(machine.compute.device)])
    log.info("warm start: cosine to the teacher %.3f on held-out texts (ridge %g)", fit.cosine, fit.ridge)
