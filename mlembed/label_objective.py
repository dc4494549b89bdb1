"""From the data of a run with labels to the terms of its loss, each with its batches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlembed.cache.stored_vectors import StoredVectors
from mlembed.config import TrainConfig
from mlembed.config_tasks import JointLoss
from mlembed.data.examples import Example
from mlembed.data.label_plan import LabelPlan
from mlembed.data.steps import Plan
from mlembed.errors import ConfigError
from mlembed.fingerprint import text_fingerprint
from mlembed.label_starts import AnsweringModel
from mlembed.losses.soft_labels import make_soft_labels
from mlembed.machine import Machine, training_tokens
from mlembed.models.bi_encoder import BiEncoder
from mlembed.models.classifier import Classifier
from mlembed.models.compaction import compact_vocabulary
from mlembed.planning import corpus_tokens, plan_batches, row_wise
from mlembed.prepare_labels import LabelData
from mlembed.stages import label_plan
from mlembed.tasks.answering import Answering, check_answers
from mlembed.tasks.embedding import DISTILLATION
from mlembed.tasks.joint import REPRESENTATION, SUPERVISED, UNLABELLED, JointTask, LearningTeacher
from mlembed.teaching import Teaching
from mlembed.training import Training

_NO_TARGETS: Mapping[str, np.ndarray | StoredVectors] = {}


@dataclass(frozen=True)
class Objective:
    """What is learnt, and in which steps.

    Args:
        task: the joint objective.
        plans: term -> its batches; the first one's epochs are the run's.
        accumulate: forwards of each process in a step, of each term.
        batch_tokens: padded tokens of a forward of parallel text, at most; None where there is none.
        tokens_fingerprint: a hash of all token ids.
    """

    task: JointTask
    plans: Mapping[str, Plan]
    accumulate: int
    batch_tokens: int | None
    tokens_fingerprint: str


@dataclass(frozen=True)
class Built:
    """What is trained, ready for its first step.

    Args:
        teacher: None where there is nothing to distil.
        teaching: what knows its answers.
        student: the student.
        knows_labels: whether it has learnt them already.
        objective: what it learns, in which steps.
        training: the loop's surroundings.
    """

    teacher: AnsweringModel | None
    teaching: Teaching | None
    student: AnsweringModel
    knows_labels: bool
    objective: Objective
    training: Training


def make_objective(
    config: TrainConfig,
    *,
    data: LabelData,
    answering: Answering,
    student: AnsweringModel,
    teaching: Teaching | None,
    carried: Sequence[Example],
    machine: Machine,
) -> Objective:
    """The joint objective of a run.

    Args:
        config: the configuration.
        data: the rows of the run.
        answering: the task.
        student: on its device; its embedding table may be replaced by one that trains used rows alone.
        teaching: the teacher, and its answers; None: there are labels alone.
        carried: rows whose tags were carried over through parallel text.
        machine: what it computes with.

    Raises:
        ConfigError: all terms that there is text for have the weight 0.
    """
    loss = config.loss
    assert isinstance(loss, JointLoss)
    weights: dict[str, float] = loss.weights.model_dump()
    final: dict[str, float] = weights | dict(loss.final_weights or {})
    wanted = [term for term in weights if weights[term] or final[term]]
    planned = _plans(config, wanted, data, answering, student, carried, machine, can_distil=teaching is not None)
    if not (plans := planned.plans):
        raise ConfigError("loss.weights: every term that there is text for has the weight 0")
    representation = _representation(loss, plans, student, teaching)
    targets, teacher = _NO_TARGETS, None
    if teaching is not None and config.model.teacher.trainable:
        teacher = _learning(plans, data, answering, teaching, machine)
    elif teaching is not None:
        targets = _targets(plans, data, answering, teaching, machine, with_read=representation > 0)
    task = JointTask(
        answering,
        distance=make_soft_labels(loss.distance, temperature=loss.temperature, problem=answering.head.problem),
        weights={term: weights[term] for term in plans},
        final_weights={term: final[term] for term in plans},
        answers=answering.answers(data.train.examples),
        targets=targets,
        representation=representation,
        carried=answering.answers(carried) if carried else None,
        teacher=teacher,
    )
    return Objective(task, plans, planned.accumulate, planned.batch_tokens, planned.tokens_fingerprint)


@dataclass(frozen=True)
class _Planned:
    plans: Mapping[str, Plan]
    accumulate: int
    batch_tokens: int | None
    tokens_fingerprint: str


def _plans(
    config: TrainConfig,
    wanted: Sequence[str],
    data: LabelData,
    answering: Answering,
    student: AnsweringModel,
    carried: Sequence[Example],
    machine: Machine,
    *,
    can_distil: bool,
) -> _Planned:
    """The batches of each term that there is text for; of the embeddings, those that they use are trained."""
    plans: dict[str, Plan] = {}
    supervised = label_plan(config, answering, student, data.train.examples)
    ids = [supervised.inputs.tokens.ids]
    if can_distil and UNLABELLED in wanted and data.unlabelled.examples:
        unlabelled = _text_plan(config, data.unlabelled.examples, answering, student)
        plans[UNLABELLED] = unlabelled
        ids.append(unlabelled.inputs.tokens.ids)
    if can_distil and DISTILLATION in wanted and carried:
        projected = _text_plan(config, carried, answering, student)
        plans = {DISTILLATION: projected, **plans}
        ids.append(projected.inputs.tokens.ids)
    accumulate, batch_tokens = config.trainer.accumulate, None
    if can_distil and DISTILLATION in wanted and data.parallel is not None and answering.head.of != "words":
        other = np.unique(np.concatenate(ids))
        planned = plan_batches(config, corpus=data.parallel, student=student, machine=machine, also_used=other)
        plans = {DISTILLATION: planned.plan, **plans}
        accumulate, batch_tokens = planned.accumulate, planned.batch_tokens
        ids.append(planned.tokens.used_ids())
    elif config.model.student.compact_vocabulary:
        compact_vocabulary(student, np.concatenate(ids), sparse=row_wise(config, machine))
    if SUPERVISED in wanted:
        plans[SUPERVISED] = supervised
    if isinstance(student, BiEncoder) and plans.keys() == {DISTILLATION}:
        # Of single texts a head for pairs learns nothing; DDP would wait for its gradients.
        student.freeze_head()
    return _Planned(plans, accumulate, batch_tokens, text_fingerprint(*(_summary(one) for one in ids)))


def _summary(ids: np.ndarray) -> list[Any]:
    """What a fingerprint needs of token ids."""
    return [len(ids), hashlib.sha256(np.ascontiguousarray(ids).tobytes()).hexdigest()]


def _representation(
    loss: JointLoss, plans: Mapping[str, Plan], student: AnsweringModel, teaching: Teaching | None
) -> float:
    """How much it counts that both heads read the same vectors, which needs models of one width."""
    if teaching is None:
        return 0.0
    assert isinstance(teaching.teacher, Classifier | BiEncoder)
    same_width = student.reader().width == teaching.teacher.reader().width
    weight = loss.representation if same_width else 0.0
    if isinstance(student, BiEncoder) and DISTILLATION in plans and not weight:
        raise ConfigError(
            "loss.representation: 0 leaves nothing to learn from data.parallel, since a bi_encoder answers to pairs "
            "alone, and what it learns of single texts are the teacher's vectors; give it a weight such as 1.0"
        )
    return weight


def _text_plan(
    config: TrainConfig, examples: Sequence[Example], answering: Answering, student: AnsweringModel
) -> LabelPlan:
    return LabelPlan(
        answering.inputs(student, examples),
        places=[one.place for one in examples],
        batch_tokens=training_tokens(config.trainer.batch_tokens),
        seed=config.seed,
    )


def _targets(
    plans: Mapping[str, Plan],
    data: LabelData,
    answering: Answering,
    teaching: Teaching,
    machine: Machine,
    *,
    with_read: bool,
) -> dict[str, np.ndarray | StoredVectors]:
    """The teacher's answers; those to texts are kept in the store, for other runs too."""
    targets: dict[str, np.ndarray | StoredVectors] = {}
    if DISTILLATION in plans and answering.head.of != "words":
        assert data.parallel is not None
        sources = data.parallel.sources
        if answering.head.of == "vectors":
            targets[DISTILLATION] = np.zeros((len(sources), 0), dtype=np.float16)
        else:
            targets[DISTILLATION] = teaching.vectors(sources)
        if with_read:
            assert isinstance(teaching.teacher, Classifier | BiEncoder)
            read = teaching.of(teaching.teacher.reader())
            targets[REPRESENTATION] = read.vectors(sources, what="teacher's vectors")
    if UNLABELLED in plans:
        examples = data.unlabelled.examples
        if answering.head.of == "text" and all(one.second is None for one in examples):
            targets[UNLABELLED] = teaching.vectors([str(one.text) for one in examples])
        else:
            teacher = teaching.teacher
            inputs = answering.inputs(teacher, examples)
            logits_AL = machine.answer(teacher, inputs, what="teacher")
            check_answers(logits_AL, inputs=inputs, examples=examples)
            targets[UNLABELLED] = logits_AL.astype(np.float16)
    teaching.tell()
    return targets


def _learning(
    plans: Mapping[str, Plan],
    data: LabelData,
    answering: Answering,
    teaching: Teaching,
    machine: Machine,
) -> LearningTeacher:
    teacher = teaching.teacher
    assert isinstance(teacher, Classifier | BiEncoder)
    is_source = np.array([one.language == data.source_language for one in data.train.examples])
    corpus = data.parallel if DISTILLATION in plans and answering.head.of != "words" else None
    return LearningTeacher(
        model=teacher,
        tokens=None if corpus is None else corpus_tokens(corpus, student=teacher, machine=machine),
        unlabelled=answering.inputs(teacher, data.unlabelled.examples) if UNLABELLED in plans else None,
        supervised=answering.inputs(teacher, data.train.examples) if SUPERVISED in plans else None,
        is_source_N=is_source,
    )
