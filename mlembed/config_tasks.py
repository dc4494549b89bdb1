"""The shape of the `task` section, and of the loss of tasks with labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mlembed.config_types import Fraction, Positive, Section

Weight = Annotated[float, Field(ge=0)]


class EmbeddingTask(Section):
    """`task=embedding`."""

    kind: Literal["embedding"]


class FineTuning(Section):
    """Training on labels alone."""

    epochs: Positive
    lr: Annotated[float, Field(gt=0)]


class LabelledTask(Section):
    """What all tasks with labels have in common."""

    batch_tokens: Annotated[int, Field(ge=16)]
    batch_rows: Positive
    fine_tuning: FineTuning


class ClassificationTask(LabelledTask):
    """`task=classification`."""

    kind: Literal["classification"]
    multi_label: bool
    pooling: Literal["auto", "mean", "cls"]
    class_weights: Literal["none", "balanced"]
    sampling: Literal["none", "balanced"]


class TokenClassificationTask(LabelledTask):
    """`task=token_classification`."""

    kind: Literal["token_classification"]
    project: bool
    projection_confidence: Fraction


class PairTask(LabelledTask):
    """`task=pair`."""

    kind: Literal["pair"]
    architecture: Literal["cross_encoder", "bi_encoder"]
    answer: Literal["score", "label"]
    score_range: Annotated[list[float], Field(min_length=2, max_length=2)]
    class_weights: Literal["none", "balanced"]
    sampling: Literal["none", "balanced"]

    @model_validator(mode="after")
    def _scale(self) -> PairTask:
        low, high = self.score_range
        if not low < high:
            raise ValueError(f"score_range: {low} is not below {high}")
        for key in ("class_weights", "sampling"):
            if self.answer == "score" and getattr(self, key) != "none":
                raise ValueError(f"{key} has no effect with answer=score, which knows no classes; leave it at none")
        return self


class TermWeights(Section):
    """The weight of each term of the joint loss."""

    supervised: Weight
    distillation: Weight
    unlabelled: Weight

    @model_validator(mode="after")
    def _something_to_learn(self) -> TermWeights:
        if not any(self.model_dump().values()):
            raise ValueError("all weights are 0: give at least one term a weight")
        return self


class JointLoss(Section):
    """`loss=joint`."""

    kind: Literal["joint"]
    weights: TermWeights
    final_weights: dict[Literal["supervised", "distillation", "unlabelled"], Weight] | None
    distance: Literal["kl", "mse", "hard"]
    temperature: Annotated[float, Field(gt=0)]
    representation: Weight
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]


LabelTask = ClassificationTask | TokenClassificationTask | PairTask
AnyTask = Annotated[EmbeddingTask | LabelTask, Field(discriminator="kind")]
