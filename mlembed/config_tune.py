"""The sections of `mlembed tune`: how long and where it searches, and the space that it searches in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mlembed.config_types import NotNegative, Positive, Section, Text

# What the storage of a study can keep.
Choosable = bool | int | float | str | None


class FloatRange(Section):
    """Any number between two."""

    kind: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _is_range(self) -> FloatRange:
        _check_range(self.low, self.high, log=self.log, step=self.step)
        return self

    def ends(self) -> list[Any]:
        """The values at the borders, which must be valid ones."""
        return [self.low, self.high]

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and _is_in(self, value)


class IntRange(Section):
    """Any whole number between two."""

    kind: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: Positive | None = None

    @model_validator(mode="after")
    def _is_range(self) -> IntRange:
        _check_range(self.low, self.high, log=self.log, step=self.step)
        return self

    def ends(self) -> list[Any]:
        """The values at the borders, which must be valid ones."""
        return [self.low, self.high]

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and _is_in(self, value)


class Choice(Section):
    """One of some values."""

    kind: Literal["choice"]
    choices: Annotated[list[Choosable], Field(min_length=1)]

    def ends(self) -> list[Any]:
        """All values, which must be valid ones."""
        return list(self.choices)

    def __contains__(self, value: Any) -> bool:
        return any(value == one and type(value) is type(one) for one in self.choices)


Dimension = Annotated[FloatRange | IntRange | Choice, Field(discriminator="kind")]
# Dotted key of the configuration -> the values that are tried for it.
Space = Annotated[dict[str, Dimension], Field(min_length=1)]


class Pruner(Section):
    """When a trial is ended before its end."""

    kind: Literal["median", "hyperband", "none"]
    startup_trials: NotNegative
    warmup_evaluations: NotNegative


class Tune(Section):
    """How long a study goes on, and what it leaves."""

    trials: Positive
    timeout: Annotated[float, Field(gt=0)] | None
    storage: Text | None
    seed: NotNegative
    random_trials: NotNegative
    pruner: Pruner
    keep: Literal["best", "all"]


def _check_range(low: float, high: float, *, log: bool, step: float | None) -> None:
    if low >= high:
        raise ValueError(f"low={low} must be less than high={high}")
    if log and low <= 0:
        raise ValueError(f"log=true needs a low that is greater than 0, not {low}")
    if log and step is not None:
        raise ValueError("log=true and a step do not go together: leave one of them out")


def _is_in(span: FloatRange | IntRange, value: float) -> bool:
    if not span.low <= value <= span.high:
        return False
    steps = (value - span.low) / (span.step or 1)
    return span.step is None or abs(steps - round(steps)) < 1e-9
