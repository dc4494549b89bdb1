"""The steps that are left of a training, each with its batches put together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from mlembed.data.plan import Batch, BatchPlan


@dataclass(frozen=True)
class Step:
    """What one optimizer step is made of.

    Args:
        entries: of each batch of the step, those of all processes, in the order of the plan.
        batches: those of this process, in rounds: in each round every process has one.
        idle: whether this process's last batch only keeps it company: there were not enough for all in the last round.
        weight: sum of the weights of all texts of the step: what the sum of losses is divided by.
        epoch: where the plan is after the step: the epoch, from 0,
        position: and the steps done of it.
    """

    entries: list[np.ndarray]
    batches: list[Batch]
    idle: bool
    weight: float
    epoch: int
    position: int


def planned_steps(
    plan: BatchPlan,
    *,
    epoch: int,
    position: int,
    count: int,
    accumulate: int,
    rank: int,
    processes: int,
    device: torch.device,
) -> Iterator[Step]:
    """The next steps, from a place in the plan: a pure function of the arguments, so it can be run ahead.

    Args:
        plan: the batches of all epochs.
        epoch: of the next step, from 0.
        position: steps that are done of this epoch.
        count: how many steps there are to come.
        accumulate: batches of each process in a step.
        rank: of this process.
        processes: how many there are.
        device: where batches go.
    """
    size = accumulate * processes
    while count > 0:
        batches = plan.epoch(epoch)
        starts = range(0, len(batches), size)
        for at in range(position, min(len(starts), position + count)):
            entries = batches[starts[at] : starts[at] + size]
            rounds = -(-len(entries) // processes)
            mine = entries[rank::processes]
            idle = len(mine) < rounds
            texts = [plan.batch(one, device=device) for one in (mine + entries[:1] if idle else mine)]
            after = (epoch + 1, 0) if at + 1 == len(starts) else (epoch, at + 1)
            yield Step(entries, texts, idle, sum(plan.weight(one) for one in entries), *after)
            count -= 1
        epoch, position = epoch + 1, 0
