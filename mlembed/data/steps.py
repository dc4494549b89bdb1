"""The steps that are left of a training, each with its batches put together."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

log = logging.getLogger("mlembed")


class AnyBatch(Protocol):
    """What the loop knows of a batch; all else is between its plan and its task."""

    @property
    def ids_BT(self) -> Tensor:
        """Token ids, padded."""
        ...

    @property
    def tokens(self) -> int:
        """Tokens without padding."""
        ...


class Plan(Protocol):
    """The batches of every epoch of one kind of text: a pure function of seed and epoch."""

    def epoch(self, epoch: int) -> Sequence[np.ndarray]:
        """The batches of an epoch, each an array of entries."""
        ...

    def weight(self, entries: np.ndarray) -> float:
        """The sum of the weights of some entries in the loss."""
        ...

    def batch(self, entries: np.ndarray, *, device: torch.device) -> AnyBatch:
        """Put some entries together."""
        ...

    def places(self, entries: np.ndarray) -> list[str]:
        """`file:line` of some entries."""
        ...


@dataclass(frozen=True)
class Part:
    """The batches of a step that belong to one term of the loss.

    Args:
        term: its name.
        plan: where its batches come from.
        entries: of each batch of the part, those of all processes, in the order of the plan.
        own: those of this process, in rounds: in each round every process has one.
        batches: the same, put together.
        idle: whether this process's last batch only keeps it company: there were not enough for all in the last round.
        weight: sum of the weights of all entries of the part: what its sum of losses is divided by.
    """

    term: str
    plan: Plan
    entries: list[np.ndarray]
    own: list[np.ndarray]
    batches: list[Any]
    idle: bool
    weight: float

    @property
    def counted(self) -> int:
        """How many of this process's batches count."""
        return len(self.batches) - self.idle


@dataclass(frozen=True)
class Step:
    """What one optimizer step is made of.

    Args:
        parts: one for each term of the loss.
        epoch: where the first term's plan is after the step: the epoch, from 0,
        position: and the steps done of it.
    """

    parts: list[Part]
    epoch: int
    position: int

    @property
    def texts(self) -> int:
        """Texts of all processes."""
        return sum(len(entries) for part in self.parts for entries in part.entries)


@dataclass(frozen=True)
class Share:
    """How the batches of a step are dealt out.

    Args:
        accumulate: batches of each process, of each term.
        rank: of this process.
        processes: how many there are.
        device: where batches go.
    """

    accumulate: int
    rank: int
    processes: int
    device: torch.device

    @property
    def size(self) -> int:
        """Batches of all processes in a step, of each term."""
        return self.accumulate * self.processes


def steps_in(plan: Plan, epoch: int, *, batches_per_step: int) -> int:
    """Optimizer steps of an epoch."""
    return -(-len(plan.epoch(epoch)) // batches_per_step)


def planned_steps(plans: Mapping[str, Plan], *, epoch: int, position: int, count: int, share: Share) -> Iterator[Step]:
    """The next steps, from a place in the plan: a pure function of the arguments, so it can be run ahead.

    The first term's plan says what an epoch is. The others give each step as many batches, and begin anew as often as
    they must: a hundred labelled rows stand beside a million pairs.

    Args:
        plans: term of the loss -> its batches.
        epoch: of the next step, from 0.
        position: steps that are done of this epoch.
        count: how many steps there are to come.
        share: what this process has of each step.
    """
    (term, plan), *others = plans.items()
    done = sum(steps_in(plan, before, batches_per_step=share.size) for before in range(epoch)) if others else 0
    endless = {other: _endless(others_plan, skip=(done + position) * share.size) for other, others_plan in others}
    while count > 0:
        batches = plan.epoch(epoch)
        starts = range(0, len(batches), share.size)
        for at in range(position, min(len(starts), position + count)):
            parts = [_part(term, plan, batches[starts[at] : starts[at] + share.size], share)]
            for other, others_plan in others:
                parts.append(_part(other, others_plan, [next(endless[other]) for _ in range(share.size)], share))
            after = (epoch + 1, 0) if at + 1 == len(starts) else (epoch, at + 1)
            yield Step(parts, *after)
            count -= 1
        epoch, position = epoch + 1, 0


def rows_to_blame(step: Step, *, sums: Sequence[Sequence[float]], rank: int, processes: int) -> list[str]:
    """`file:line` of the rows of a step that is skipped: of the batches whose loss is not finite, or of all.

    Args:
        step: the step.
        sums: of each part the sums of losses of this process's batches.
        rank: of this process.
        processes: how many there are.
    """
    mine = [part.entries[rank::processes] for part in step.parts]
    bad = [
        [one for one, value in zip(entries, values, strict=True) if not math.isfinite(value)]
        for entries, values in zip(mine, sums, strict=True)
    ]
    blamed = zip(step.parts, bad if any(bad) else mine, strict=True)
    rows = [row for part, entries in blamed if entries for row in part.plan.places(np.concatenate(entries)[:200])]
    log.warning("a step is skipped: loss or gradient is not finite, with rows such as %s", ", ".join(rows[:5]))
    return rows


def _part(term: str, plan: Plan, entries: Sequence[np.ndarray], share: Share) -> Part:
    entries = list(entries)
    rounds = -(-len(entries) // share.processes)
    mine = entries[share.rank :: share.processes]
    idle = len(mine) < rounds
    own = mine + entries[:1] if idle else mine
    batches = [plan.batch(one, device=share.device) for one in own]
    # No word of these rows may have a token: then the sum of losses is 0, and what it is divided by does not matter.
    weight = sum(plan.weight(one) for one in entries) or 1.0
    return Part(term, plan, entries, own, batches, idle, weight)


def _endless(plan: Plan, *, skip: int) -> Iterator[np.ndarray]:
    """The batches of all epochs from a place on."""
    epoch = 0
    while True:
        batches = plan.epoch(epoch)
        for at in range(min(skip, len(batches)), len(batches)):
            yield batches[at]
        skip = max(0, skip - len(batches))
        epoch += 1
