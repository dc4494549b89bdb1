"""The section of `mlembed bench`: what a training is compared with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mlembed.config_types import Fraction, Positive, Section


class Recipe(Section):
    """The settings of another tool's training."""

    batch_size: Positive
    lr: Annotated[float, Field(gt=0)]
    warmup: Fraction


class Bench(Section):
    """What is compared, and how often."""

    peers: list[Literal["sentence-transformers"]]
    sources: Positive | None
    rounds: Positive
    peak_seconds: Annotated[float, Field(gt=0)]
    recipe: Recipe
