"""Alarm on gradients: what is left of them after clipping is a direction with a fixed length."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from mlembed.alarms.alarm import Alarm

# Steps that are looked at; those of a warm-up have large gradients.
WINDOW = 64
# Times the limit. To train a head, or with a large temperature, medians of 10 are usual and do no harm.
FAR = 50.0


def clipping_alarm(norms: Sequence[float], *, limit: float | None) -> Alarm | None:
    """Whether the median gradient is far above the limit.

    Args:
        norms: of the gradients of the steps so far, before clipping; the last `WINDOW` at most.
        limit: `optimizer.max_grad_norm`.
    """
    if limit is None or len(norms) < WINDOW:
        return None
    middle = statistics.median(norms)
    if middle <= FAR * limit:
        return None
    seen = f"the median norm of the last {len(norms)} gradients is {middle:.3g}; they are scaled down to {limit:g}"
    return Alarm("clipped", seen, middle / (FAR * limit), ends=False)
