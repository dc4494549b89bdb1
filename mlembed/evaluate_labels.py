"""Measure a model with labels by language, or one that compares two texts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mlembed.config import EvalConfig
from mlembed.config_data import FilesData
from mlembed.data.examples import Answers, LabelSet, Shape
from mlembed.errors import ConfigError
from mlembed.label_measuring import measured_answers
from mlembed.label_starts import AnsweringModel
from mlembed.machine import Machine
from mlembed.models.bi_encoder import COSINE
from mlembed.models.bi_encoder_folder import load_bi_encoder
from mlembed.models.classifier_folder import has_head, load_any_classifier
from mlembed.prepare_labels import load_label_test
from mlembed.report.report import Report
from mlembed.tasks.answer_details import AnswerDetails
from mlembed.tasks.answering import Answering
from mlembed.tasks.classification import Classification
from mlembed.tasks.held_out_labels import LabelledSet
from mlembed.tasks.pair import PairClassification, PairComparison, PairScore, PairSimilarity
from mlembed.tasks.token_classification import TokenClassification


def has_labels(config: EvalConfig, folder: Path) -> bool:
    """Whether a model is to be measured by its answers, not by its vectors."""
    return config.task_kind not in ("embedding", None) or (config.task_kind is None and has_head(folder))


def evaluate_labels(config: EvalConfig, folder: Path, *, machine: Machine) -> Report:
    """Measure a model on a test set with labels.

    Args:
        config: the configuration.
        folder: the model.
        machine: what it computes with.

    Raises:
        ConfigError: the model has no head for the task, or no data are given.
        DataError: with `file:line`, or labels that the model does not know.
    """
    if not isinstance(config.data, FilesData):
        raise ConfigError("data: labelled text is read from files (data=files)")
    model = load_answering_model(folder, config.task_kind)
    is_pair = config.task_kind == "pair"
    answering, shape, answers = answering_of(model, is_pair=is_pair)
    test, counts = load_label_test(
        config.data, shape=shape, answers=answers, labels=LabelSet(answering.head.labels), seed=config.seed
    )
    model.to(machine.compute.device)
    rows = LabelledSet(test, answering, config.data.source_language, config.seed)
    probabilities = rows.probabilities(model, lambda inputs: machine.answer(model, inputs, what="student"))
    shown = AnswerDetails(rows)
    measured = measured_answers(rows, shown, probabilities)
    metadata = {
        "data": counts,
        "target": str(folder),
        "source_language": config.data.source_language,
        "labels": measured.labels,
    }
    details = dataclasses.replace(shown.start().with_system("student", measured.shown), hard_rows=measured.hard_rows)
    return Report({"student": measured.scores}, test_set=test.name, metadata=metadata, details=details)


def load_answering_model(folder: Path, task: str | None) -> AnsweringModel:
    """A model with a head; for pairs an encoder will do."""
    if task == "pair" and not has_head(folder):
        return load_bi_encoder(folder, key="target")
    return load_any_classifier(folder, key="target")


def answering_of(model: AnsweringModel, *, is_pair: bool) -> tuple[Answering, Shape, Answers]:
    """The task that a model was made for, and what its rows are."""
    if model.head == COSINE:
        return PairSimilarity(low=0.0, high=1.0), "pair", "score"
    head, labels = model.head, LabelSet(model.head.labels)
    if head.of == "words":
        return TokenClassification(labels, smoothing=0.0), "tokens", "tags"
    if head.problem == "score":
        return PairScore(low=0.0, high=1.0), "pair", "score"
    kind: type[Classification] = PairClassification if is_pair else Classification
    kind = PairComparison if head.of == "vectors" else kind
    several = head.problem == "many"
    answering = kind(labels, several=several, train=(), balanced_weights=False, balanced_sampling=False, smoothing=0.0)
    return answering, "pair" if is_pair else "text", "labels" if several else "label"
