"""The typed shape of the configuration: types and bounds are here, defaults and explanations in conf/."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mlembed.config_bench import Bench
from mlembed.config_data import AnyData, FilesData
from mlembed.config_model import Model, StaticModel, TransplantModel
from mlembed.config_tasks import AnyTask, EmbeddingTask, JointLoss
from mlembed.config_trackers import NO_TRACKERS, Trackers
from mlembed.config_tune import Space, Tune
from mlembed.config_types import (
    Device,
    FolderName,
    Fraction,
    NotNegative,
    Positive,
    Precision,
    Section,
    Text,
    Texts,
)

# Groups of conf/ that have no section of their own: their files set keys of the others.
RECIPES = ("experiment", "debug")
# The folders of conf/ that a verb's configuration is composed of.
# Tasks come after what they set the defaults of.
TRAINING = ("model", "data", "loss", "optimizer", "trainer", "task", *RECIPES)
GROUPS = {"train": TRAINING, "check": TRAINING, "eval": ("data",), "bench": TRAINING, "tune": (*TRAINING, "space")}


class PlainLoss(Section):
    """A loss without settings."""

    kind: Literal["mse", "cosine", "relational"]


class ContrastiveLoss(Section):
    """`loss=contrastive`."""

    kind: Literal["contrastive"]
    temperature: Annotated[float, Field(gt=0)]


class MatryoshkaLoss(Section):
    """`loss=matryoshka`."""

    kind: Literal["matryoshka"]
    widths: Annotated[list[Positive], Field(min_length=1)]


class LossWeights(Section):
    """The weight of each loss in the sum."""

    mse: Annotated[float, Field(ge=0)]
    cosine: Annotated[float, Field(ge=0)]
    contrastive: Annotated[float, Field(ge=0)]
    relational: Annotated[float, Field(ge=0)]


class SumLoss(Section):
    """`loss=sum`."""

    kind: Literal["sum"]
    weights: LossWeights
    temperature: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _something_to_learn(self) -> SumLoss:
        if not any(self.weights.model_dump().values()):
            raise ValueError("all weights are 0: give at least one loss a weight")
        return self


class Optimizer(Section):
    """What all optimizers have in common."""

    lr: Annotated[float, Field(gt=0)]
    embedding_lr: Annotated[float, Field(gt=0)] | None
    weight_decay: Annotated[float, Field(ge=0)]
    teacher_lr: Annotated[float, Field(gt=0)] | None
    schedule: Literal["linear", "cosine", "constant"]
    warmup: Fraction
    max_grad_norm: Annotated[float, Field(gt=0)] | None


class AdamW(Optimizer):
    """`optimizer=adamw`."""

    kind: Literal["adamw"]
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)]
    eps: Annotated[float, Field(gt=0)]
    row_wise: bool


class SGD(Optimizer):
    """`optimizer=sgd`."""

    kind: Literal["sgd"]
    momentum: Annotated[float, Field(ge=0, lt=1)]


class Trainer(Section):
    """The training loop."""

    epochs: Positive
    max_steps: Positive | None
    batch_tokens: Annotated[int, Field(ge=16)] | Literal["auto"]
    accumulate: Positive
    step_tokens: Annotated[int, Field(ge=16)] | None
    gradient_checkpointing: bool
    compile: bool
    precision: Precision
    device: Device
    evaluate_every: Positive | None
    save_every: Positive | None
    keep_checkpoints: Annotated[int, Field(ge=2)]
    metric: Text
    patience: Positive | None
    min_delta: Annotated[float, Field(ge=0)]
    on_collapse: Literal["warn", "stop"]
    progress: Literal["auto", "bar", "lines", "none"]
    log_every: Positive

    @model_validator(mode="after")
    def _one_effective_batch(self) -> Trainer:
        if self.batch_tokens == "auto" and self.step_tokens is None:
            raise ValueError(
                "batch_tokens=auto needs trainer.step_tokens=N, the size of an optimizer step, such as 4096: what fits "
                "into memory decides the forwards of a step, not what is learnt in it"
            )
        if self.step_tokens is not None and self.accumulate != 1:
            raise ValueError("accumulate follows from step_tokens: give one of them")
        return self


class Run(Section):
    """Where results go."""

    name: FolderName
    root: Text
    dir: Text | None


class TrainRun(Run):
    """Where a training run goes, and what it goes on from."""

    resume: Text | None
    allow_changes: bool


NEEDS_PARALLEL = (
    "learns a vocabulary from parallel text: give data.parallel=PATH, or choose model=pretrained with a multilingual "
    "model, or model=copy"
)
EmbeddingLoss = PlainLoss | ContrastiveLoss | MatryoshkaLoss | SumLoss
Loss = Annotated[EmbeddingLoss | JointLoss, Field(discriminator="kind")]
AnyOptimizer = Annotated[AdamW | SGD, Field(discriminator="kind")]


def misfits(task: AnyTask, *, data: AnyData, loss: Loss, model: Model, optimizer: AnyOptimizer) -> list[str]:
    """What of the sections does not go together, each with a way out."""
    problems = []
    if optimizer.teacher_lr is not None and not model.teacher.trainable:
        problems.append("optimizer.teacher_lr has no effect: the teacher is frozen (model.teacher.trainable=true)")
    if isinstance(task, EmbeddingTask):
        if isinstance(loss, JointLoss):
            problems.append("loss=joint is for tasks with labels; choose loss=mse, or task=classification")
        if isinstance(data, FilesData) and (data.parallel or data.unlabelled):
            problems.append("data.parallel, data.unlabelled: task=embedding learns from data.train alone")
        if model.teacher.trainable:
            problems.append("model.teacher.trainable: the teacher of task=embedding is frozen")
        return problems
    if model.teacher.trainable and isinstance(loss, JointLoss) and not loss.weights.supervised:
        problems.append("model.teacher.trainable: a teacher learns from labels; give loss.weights.supervised a weight")
    if not isinstance(loss, JointLoss):
        problems.append(f"loss={loss.kind}: task={task.kind} needs loss=joint")
    if not isinstance(data, FilesData):
        problems.append(
            f"data={data.kind}: task={task.kind} reads data=files, where a data set of the hub is "
            "data.train=hub:NAME:SUBSET:SPLIT"
        )
    if isinstance(model, StaticModel):
        problems.append(f"model=static has no head for labels; task={task.kind} needs another model")
    # Told before a teacher is trained for nothing; without data.train there is nothing to say yet.
    if isinstance(data, FilesData) and data.train:
        if isinstance(model, TransplantModel) and not data.parallel:
            problems.append(f"model=transplant {NEEDS_PARALLEL}")
        if isinstance(loss, JointLoss) and not _has_term(loss, data):
            problems.append("loss.weights: every term that there is text for has the weight 0")
    return problems


def _has_term(loss: JointLoss, data: FilesData) -> bool:
    there = {"supervised": True, "distillation": bool(data.parallel), "unlabelled": bool(data.unlabelled)}
    weights: dict[str, float] = loss.weights.model_dump()
    final: dict[str, float] = weights | dict(loss.final_weights or {})
    return any(is_there and (weights[term] or final[term]) for term, is_there in there.items())


class Training(Section):
    """What every verb that trains is told."""

    task: AnyTask
    model: Model
    data: AnyData
    loss: Loss
    optimizer: AnyOptimizer
    trainer: Trainer
    seed: NotNegative

    @model_validator(mode="after")
    def _parts_fit(self) -> Training:
        if problems := misfits(self.task, data=self.data, loss=self.loss, model=self.model, optimizer=self.optimizer):
            raise ValueError("; ".join(problems))
        return self


class TrainConfig(Training):
    """The configuration of `mlembed train`."""

    # The stored configuration of a run may be older than trackers.
    trackers: Trackers = NO_TRACKERS
    run: TrainRun


class TuneConfig(Training):
    """The configuration of `mlembed tune`."""

    tune: Tune
    space: Space
    trackers: Trackers
    run: Run


class BenchConfig(Training):
    """The configuration of `mlembed bench`."""

    bench: Bench
    run: Run

    @field_validator("task")
    @classmethod
    def _embeddings(cls, task: AnyTask) -> AnyTask:
        if not isinstance(task, EmbeddingTask):
            raise ValueError(f"kind={task.kind} has no peer to compare with; bench is for task=embedding")
        return task

    @field_validator("trainer")
    @classmethod
    def _whole_epochs(cls, trainer: Trainer) -> Trainer:
        if trainer.max_steps is not None:
            raise ValueError("with max_steps the sides would do different work; leave it out, and set bench.sources")
        return trainer


class EvalTeacher(Section):
    """The model that an evaluated one is compared with."""

    name: Text | None
    max_length: Positive | None


class EvalConfig(Section):
    """The configuration of `mlembed eval`."""

    target: Text
    task_kind: Literal["embedding", "classification", "token_classification", "pair"] | None
    width: Positive | None
    mteb: Texts | None
    data: AnyData
    teacher: EvalTeacher
    seed: NotNegative
    batch_tokens: Annotated[int, Field(ge=16)]
    precision: Precision
    device: Device
    run: Run


SCHEMAS: dict[str, type[Section]] = {
    "train": TrainConfig,
    "check": TrainConfig,
    "eval": EvalConfig,
    "bench": BenchConfig,
    "tune": TuneConfig,
}
