"""Alarms on the validation metric: worse than before training, or falling."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from mlembed.alarms.alarm import Alarm
from mlembed.report.metrics import METRICS, is_better, parse_metric

# Evaluations in a row, each worse than the one before, and by how much all together; metrics are between 0 and 1.
FALLING, FALL = 3, 0.02
# A fifth of the value before training is lost, and more than chance. A new vocabulary or a warm-up may cost some at
# first, so it is looked at after a quarter of the steps.
LOST_SHARE, LOST, PATIENT_UNTIL = 0.2, 0.05, 0.25


def metric_alarms(values: Sequence[float], *, first: float | None, metric: str, progress: float) -> Iterator[Alarm]:
    """What is wrong with the values of the evaluations so far.

    Args:
        values: after training began, the last ones.
        first: before training.
        metric: its name; a lower value may be better.
        progress: share of the steps that are done, 0 to 1.
    """
    if not values:
        return
    last = values[-1]
    sign = 1 if METRICS[parse_metric(metric)[0]].better == "higher" else -1
    if first is not None and progress >= PATIENT_UNTIL:
        lost, limit = sign * (first - last), max(LOST, LOST_SHARE * abs(first))
        if lost > limit:
            yield Alarm("worse", f"{metric} is {last:.4f}, before training it was {first:.4f}", lost / limit, ends=True)
    recent = values[-FALLING - 1 :]
    falls = all(is_better(metric, one, other) for one, other in itertools.pairwise(recent))
    fall = sign * (recent[0] - last)
    if len(recent) == FALLING + 1 and falls and fall > FALL:
        seen = f"{metric} got worse in {FALLING} evaluations in a row, from {recent[0]:.4f} to {last:.4f}"
        yield Alarm("falling", seen, fall / FALL, ends=False)
