"""What a training will cost: steps as they are, time, memory and disk estimated from a few real steps."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from mlembed.compute import Compute
from mlembed.models.compaction import full_vocabulary
from mlembed.models.text_model import TextModel
from mlembed.trainer import Trainer
from mlembed.trainer_state import TrainerState

# The first steps are slower: memory is found, kernels are chosen.
WARM_UP_STEPS, MOST_STEPS = 2, 10
# No further step is begun after so long.
MOST_SECONDS = 20.0
# ru_maxrss is in kilobytes, but on macOS in bytes.
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class _Enough(Exception):
    """Enough steps were done."""


@dataclass
class _Watching:
    """A recorder that writes nothing down, and ends the training after a few steps."""

    records: list[dict[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def close(self) -> None:
        """See `Recorder`."""

    def step(self, record: dict[str, Any]) -> None:
        """See `Recorder`."""
        self.records.append(record)
        is_long = time.perf_counter() - self.started > MOST_SECONDS and len(self.records) > WARM_UP_STEPS
        if len(self.records) == MOST_STEPS or is_long:
            raise _Enough

    def evaluation(self, record: dict[str, Any]) -> None:
        """See `Recorder`."""

    def save(self, state: TrainerState) -> bool:
        """See `Recorder`."""
        return True


@dataclass(frozen=True)
class Steps:
    """A few real steps.

    Args:
        total: steps of the whole training, as its loop counts them.
        done: how many were done for this estimate.
        seconds: of a step.
        skipped: how many of them had a loss or gradient that was not finite.
        texts_per_s: texts that the student reads in a second.
    """

    total: int
    done: int
    seconds: float
    skipped: int
    texts_per_s: float


def real_steps(trainer: Trainer) -> Steps:
    """Let a trainer that is ready to run do a few steps; its student is used up.

    Raises:
        TrainingFailed: loss or gradient are not finite in the very first steps.
        ResourceError: a step does not fit into memory.
    """
    watching = _Watching()
    trainer.recorder = watching
    # What it would measure before the first step is measured elsewhere.
    trainer.state.evaluated_step = trainer.state.step
    with contextlib.suppress(_Enough):
        trainer.run()
    records = watching.records
    timed = records[WARM_UP_STEPS:] or records
    seconds = sum(one["seconds"] + one["waited"] for one in timed)
    return Steps(
        total=trainer.total_steps,
        done=len(records),
        seconds=seconds / max(1, len(timed)),
        skipped=sum(one["loss"] is None for one in records),
        texts_per_s=sum(one["texts"] for one in timed) / max(seconds, 1e-9),
    )


def peak_memory(compute: Compute) -> int:
    """Bytes of memory that this process needed at its most: of the GPU, where there is one."""
    if compute.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(compute.device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


def checkpoint_bytes(trainer: Trainer) -> tuple[int, int]:
    """Bytes of the student, and of all that a checkpoint of this training holds beside it."""
    student = _bytes_of(trainer.student)
    others = sum(_bytes_of(one) for one in trainer.task.learners())
    states = [value for state in trainer.optimizer.state.values() for value in state.values()]
    optimizer = sum(one.numel() * one.element_size() for one in states if isinstance(one, torch.Tensor))
    return student, others + optimizer


def _bytes_of(model: TextModel) -> int:
    with full_vocabulary(model):
        return sum(one.numel() * one.element_size() for one in model.state_dict().values())


def evaluations(total_steps: int, *, every: int | None, epochs: int) -> int:
    """How often a training looks at the validation set: before its first step, on the way, and at its end."""
    on_the_way = epochs if every is None else -(-total_steps // every)
    return 1 + on_the_way


def disk(*, student: int, beside: int, kept: int, saves: int, store: int) -> Mapping[str, int]:
    """Bytes on the disk.

    Args:
        student: of the student.
        beside: what a checkpoint holds beside it.
        kept: trainer.keep_checkpoints; the best one stays besides.
        saves: checkpoints that are written in all.
        store: of the teacher's vectors that are not there yet.
    """
    checkpoint = student + beside
    left = min(saves, kept + 1)
    return {
        "checkpoint": checkpoint,
        "run": left * checkpoint + student,
        # A new one is whole before an old one goes.
        "at_most": min(saves, left + 1) * checkpoint + student,
        "teacher_store": store,
    }
