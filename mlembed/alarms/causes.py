"""The likely causes of an alarm, the likeliest first, in the words of the run's own configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlembed.config import TrainConfig
from mlembed.config_model import PretrainedModel
from mlembed.config_tasks import ClassificationTask, JointLoss, PairTask

# Above it a learning rate is the first thing to doubt: fine-tuning of Transformers is done at 1e-5 to 5e-4 (AdamW); the
# gradients of SGD are those of means over dimensions.
HIGH_LR = {"adamw": 1e-3, "sgd": 10.0}


@dataclass(frozen=True)
class Circumstances:
    """What is known of a training when an alarm is raised.

    Args:
        config: the configuration.
        lr_key: the key that the learning rate of this training comes from.
        lr: its value.
        student: pooling and normalization of the student; empty where it has a head for labels.
        teacher: the same of the teacher.
    """

    config: TrainConfig
    lr_key: str
    lr: float
    student: Mapping[str, Any] = field(default_factory=dict)
    teacher: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_high_lr(self) -> bool:
        """Whether the learning rate is the first thing to doubt."""
        return self.lr > HIGH_LR[self.config.optimizer.kind]

    @property
    def lower_lr(self) -> str:
        """What to do about a learning rate."""
        return f"{self.lr_key}={self.lr:g} is too high: try {self.lr / 10:g}"

    def with_lr(self, causes: list[str]) -> list[str]:
        """Put the learning rate where it belongs: first where it is high, else last."""
        return [self.lower_lr, *causes] if self.has_high_lr else [*causes, self.lower_lr]


def likely_causes(kind: str, now: Circumstances) -> list[str]:
    """What has probably led to an alarm and what to do about it, the likeliest first.

    Args:
        kind: of the alarm.
        now: what is known.
    """
    return _CAUSES[kind](now)


def _teacher(now: Circumstances) -> list[str]:
    name = now.config.model.teacher.name
    return [
        f"model.teacher.name={name} was not trained for sentences (the mean of a plain BERT or RoBERTa): use a "
        "sentence encoder, a folder with modules.json",
        f"the teacher reads text in a language that it does not know: the source column must be in "
        f"{now.config.data.source_language}",
        f"its folder has lost its pooling or dense layers (it pools by {now.teacher.get('pooling')})",
    ]


def _collapse(now: Circumstances) -> list[str]:
    model, causes = now.config.model, []
    if isinstance(model, PretrainedModel) and model.warm_start == "none":
        causes.append("model.warm_start=none: the student begins in another space than the teacher's; use auto")
    differing = [key for key in ("pooling", "normalize") if now.student.get(key) != now.teacher.get(key)]
    for key in differing:
        causes.append(
            f"{key} of student ({now.student.get(key)}) and teacher ({now.teacher.get(key)}) differ: use a student "
            "whose folder has the teacher's"
        )
    causes.append("source and target of the training rows do not belong together: look at a few, and at data.columns")
    languages = now.config.data.languages
    if languages is not None and len(languages) == 1:
        causes.append(f"the only language is {languages[0]}: whatever is said of it alone is not seen in another")
    return now.with_lr(causes)


def _labels(now: Circumstances) -> list[str]:
    task, causes = now.config.task, []
    causes.append("text and label of the training rows do not belong together: look at a few, and at data.columns")
    if isinstance(task, ClassificationTask | PairTask) and "none" == task.class_weights == task.sampling:
        causes.append("one label is far more frequent than the others: try task.class_weights=balanced")
    if isinstance(now.config.loss, JointLoss) and now.config.loss.weights.supervised == 0:
        causes.append("loss.weights.supervised=0: the teacher's answers are all that is learnt, look at its own scores")
    causes.append("there are too few rows or steps for these labels: give more rows, or more epochs")
    return now.with_lr(causes)


def _worse(now: Circumstances) -> list[str]:
    causes = []
    if now.config.loss.kind == "relational":
        causes.append("loss=relational keeps the teacher's geometry, not its axes: measure by trainer.metric=retrieval")
    causes.append("the training rows are wrong (columns, languages, misaligned files) or say little: look at a few")
    return now.with_lr(causes)


def _falling(now: Circumstances) -> list[str]:
    patience = now.config.trainer.patience
    causes = ["the student learns the training rows by heart: fewer epochs, more rows, or model.student.dropout=0.1"]
    causes.append("the validation set is of another kind than the training rows: give data.validation")
    if patience is None:
        causes.append("nothing stops it: trainer.patience=3 ends a run that gets no better; the best student is kept")
    return now.with_lr(causes)


def _spike(now: Circumstances) -> list[str]:
    optimizer, precision = now.config.optimizer, now.config.trainer.precision
    causes = []
    if optimizer.max_grad_norm is None:
        causes.append("optimizer.max_grad_norm=null: one bad batch moves the student as far as it likes; try 1.0")
    if optimizer.warmup < 0.01:
        causes.append(f"optimizer.warmup={optimizer.warmup:g} is short: try 0.1")
    causes.append("rows of another kind have come up: the files are read in a shuffled order, look at their ends too")
    if precision == "fp16":
        causes.append("trainer.precision=fp16 overflows: try bf16 or fp32")
    return now.with_lr(causes)


def _clipped(now: Circumstances) -> list[str]:
    return [
        f"optimizer.max_grad_norm={now.config.optimizer.max_grad_norm:g} is small for this loss: every step has the "
        "same length, whatever its gradient; AdamW hardly minds, SGD does",
        "the loss is large because of its weights or its temperature: see loss.weights, loss.temperature",
        now.lower_lr,
    ]


_CAUSES: dict[str, Callable[[Circumstances], list[str]]] = {
    "teacher": _teacher,
    "collapse": _collapse,
    "rank": _collapse,
    "dead_dimensions": _collapse,
    "one_answer": _labels,
    "chance": _labels,
    "worse": _worse,
    "falling": _falling,
    "spike": _spike,
    "clipped": _clipped,
}
