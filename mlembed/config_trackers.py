"""The section that says who else follows a run, beside its metrics.jsonl."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from mlembed.config_types import Section, Text, Texts, texts

TrackerName = Literal["tensorboard", "wandb", "mlflow"]


class WandbSettings(Section):
    """Of Weights & Biases."""

    entity: Text | None
    mode: Literal["online", "offline"]


class MLflowSettings(Section):
    """Of MLflow."""

    uri: Text | None


class Trackers(Section):
    """Who else follows a run."""

    use: Annotated[list[TrackerName], BeforeValidator(texts)]
    project: Text
    group: Text | None
    tags: Texts
    last_seconds: Annotated[float, Field(ge=0)]
    wandb: WandbSettings
    mlflow: MLflowSettings

    @field_validator("use")
    @classmethod
    def _each_once(cls, use: list[TrackerName]) -> list[TrackerName]:
        return list(dict.fromkeys(use))


NO_TRACKERS = Trackers(
    use=[],
    project="mlembed",
    group=None,
    tags=[],
    last_seconds=30.0,
    wandb=WandbSettings(entity=None, mode="online"),
    mlflow=MLflowSettings(uri=None),
)
