"""Alarm on the loss: it has jumped, and stays there."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from mlembed.alarms.alarm import Alarm

# Steps that the median is of, and those that are compared with it: a single batch may be hard.
WINDOW, RECENT, LEAST = 64, 5, 32
# Deviations above the median, and times the median. In 17 healthy runs at hand the largest were 3.0 and 1.7.
MANY_DEVIATIONS, MANY_TIMES = 6.0, 2.0
# From the median absolute deviation to the standard deviation of a normal distribution.
_TO_DEVIATION = 1.4826


def loss_alarm(losses: Sequence[float]) -> Alarm | None:
    """Compare the last losses with the steps before by median and median absolute deviation, which no outlier moves.

    Args:
        losses: of the steps so far, the last `WINDOW + RECENT` at most.
    """
    if len(losses) < LEAST + RECENT:
        return None
    earlier, recent = losses[-WINDOW - RECENT : -RECENT], statistics.median(losses[-RECENT:])
    middle = statistics.median(earlier)
    deviation = _TO_DEVIATION * statistics.median(abs(loss - middle) for loss in earlier)
    if recent <= MANY_TIMES * middle or recent <= middle + MANY_DEVIATIONS * deviation:
        return None
    seen = f"the median loss of the last {RECENT} steps is {recent:.4g}, of the {len(earlier)} before {middle:.4g}"
    return Alarm("spike", seen, recent / max(MANY_TIMES * middle, 1e-12), ends=False)
