"""The tasks with labels by name; a new one is a file here, a line below, and a YAML file in conf/task."""

from __future__ import annotations

from collections.abc import Sequence

from mlembed.config_tasks import ClassificationTask, LabelTask, PairTask
from mlembed.data.examples import Example, LabelSet
from mlembed.tasks.answering import Answering
from mlembed.tasks.classification import Classification
from mlembed.tasks.pair import PairClassification, PairComparison, PairScore, PairSimilarity
from mlembed.tasks.token_classification import TokenClassification


def make_answering(task: LabelTask, *, labels: LabelSet, train: Sequence[Example], smoothing: float) -> Answering:
    """The task of a configuration.

    Args:
        task: the `task` section.
        labels: those of the training rows.
        train: the training rows, which weights of labels are made of.
        smoothing: of labels.
    """
    if isinstance(task, PairTask) and task.answer == "score":
        low, high = task.score_range
        return (PairSimilarity if task.architecture == "bi_encoder" else PairScore)(low=low, high=high)
    if isinstance(task, ClassificationTask | PairTask):
        kind: type[Classification] = Classification
        if isinstance(task, PairTask):
            kind = PairComparison if task.architecture == "bi_encoder" else PairClassification
        return kind(
            labels,
            several=isinstance(task, ClassificationTask) and task.multi_label,
            train=train,
            balanced_weights=task.class_weights == "balanced",
            balanced_sampling=task.sampling == "balanced",
            smoothing=smoothing,
        )
    return TokenClassification(labels, smoothing=smoothing)
