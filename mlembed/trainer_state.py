"""What the training loop is told, what it remembers, and whom it tells."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Protocol

from mlembed.errors import ConfigError


@dataclass(frozen=True)
class TrainerSettings:
    """How long to train, and when to look.

    Args:
        epochs: passes over the data.
        max_steps: end after this many steps; None: epochs decide.
        accumulate: batches of each process in one optimizer step.
        schedule: `linear`, `cosine` or `constant`.
        warmup: share of all steps in which the learning rate rises.
        max_grad_norm: gradients are scaled down to this norm; None: never.
        evaluate_every: steps; None: at the end of each epoch.
        save_every: steps; None: at each evaluation.
        metric: what decides the best checkpoint and early stopping.
        patience: evaluations without a better value; None: never stop early.
        min_delta: what counts as better.
    """

    epochs: int
    max_steps: int | None
    accumulate: int
    schedule: str
    warmup: float
    max_grad_norm: float | None
    evaluate_every: int | None
    save_every: int | None
    metric: str
    patience: int | None
    min_delta: float


@dataclass
class TrainerState:
    """Where a run is; together with weights, optimizer and random states all that a resumed run needs.

    Args:
        step: optimizer steps done, skipped ones included.
        epoch: epoch from 0.
        position: steps done within the epoch.
        texts: texts that the student has read.
        evaluated_step: step of the last evaluation; -1 before the first.
        first_value: the metric before training.
        best_value: the best value after training began.
        best_step: its step.
        stale_evaluations: evaluations since then.
        skipped: steps skipped because loss or gradient were not finite.
        skipped_in_a_row: the same, without a good step between.
        pieces: forwards of each batch, since one did not fit into memory.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    texts: int = 0
    evaluated_step: int = -1
    first_value: float | None = None
    best_value: float | None = None
    best_step: int | None = None
    stale_evaluations: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    pieces: int = 1

    def forget_best(self) -> None:
        """Let the next evaluation decide what is best, and evaluate here once more where it was done already."""
        self.best_value = self.best_step = None
        self.evaluated_step = min(self.evaluated_step, self.step - 1)


def read_trainer_state(stored: Any) -> TrainerState:
    """A state from JSON; its numbers become names of folders, so their types are checked.

    Raises:
        ConfigError: when it is not a state.
    """
    kinds: dict[str, tuple[type, ...]] = {
        "int": (int,),
        "int | None": (int, type(None)),
        "float | None": (float, int, type(None)),
    }
    wanted = {field.name: kinds[str(field.type)] for field in fields(TrainerState)}
    if not isinstance(stored, dict) or stored.keys() != wanted.keys():
        raise ConfigError("the checkpoint has no training state of this version of mlembed")
    for name, value in stored.items():
        least = {"evaluated_step": -1, "pieces": 1}.get(name, 0)
        if type(value) not in wanted[name] or (type(value) is int and name != "best_value" and value < least):
            raise ConfigError(f"the checkpoint's training state is damaged: {name} is {value!r}")
    return TrainerState(**stored)


class Recorder(Protocol):
    """What a run tells the world."""

    def close(self) -> None:
        """The run has ended."""

    def step(self, record: dict[str, Any]) -> None:
        """One optimizer step was done."""

    def evaluation(self, record: dict[str, Any]) -> None:
        """One evaluation was done."""

    def save(self, state: TrainerState) -> bool:
        """Write a checkpoint; returns whether it is there."""
        ...
