"""What an alarm is, and the kinds that there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Numbers of an evaluation by name; of vectors and answers also by language.
Signs = Mapping[str, Any]

# What each kind says of a student, in few words.
KINDS = {
    "teacher": "the teacher's vectors hardly differ",
    "collapse": "the student's vectors lie close together",
    "rank": "the student's vectors use few directions",
    "dead_dimensions": "dimensions of the student's vectors are always the same",
    "one_answer": "the student gives nearly everything the same answer",
    "chance": "the student's answers are no better than chance",
    "worse": "the student is worse than before training",
    "falling": "the validation metric is falling",
    "spike": "the loss has jumped",
    "clipped": "nearly every gradient is scaled down by far",
}


@dataclass(frozen=True)
class Alarm:
    """A sign that a training goes wrong.

    Args:
        kind: one of `KINDS`.
        seen: the numbers, in words.
        severity: how far a threshold is exceeded, above 0; an alarm is told again where it becomes much larger.
        ends: whether the student is of no use, so that `trainer.on_collapse=stop` ends the run.
    """

    kind: str
    seen: str
    severity: float
    ends: bool
