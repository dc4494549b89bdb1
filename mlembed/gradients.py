"""The gradients of a step: forwards and backwards of its batches, in pieces where a batch does not fit into memory."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mlembed.compute import Compute, Processes
from mlembed.data.steps import AnyBatch, Part, Step
from mlembed.errors import OutOfMemory
from mlembed.faults import fault_point
from mlembed.memory import MEMORY_ERRORS, SMALLER, free_memory, is_out_of_memory, named, out_of_memory
from mlembed.tasks.task import Task

log = logging.getLogger("mlembed")


@dataclass(frozen=True)
class Gradients:
    """What was computed for the gradients of a step, which are with the parameters.

    Args:
        sums: of each part of the step the sums of losses of this process's batches.
        padded: tokens of this process's batches, with padding.
        tokens: without.
        pieces: forwards of each batch; more than were asked for where memory did not suffice.
        too_large: the batches that did not fit, in words.
    """

    sums: list[list[float]]
    padded: int
    tokens: int
    pieces: int
    too_large: list[str]


@dataclass(frozen=True)
class _TooLarge:
    """Entries of a part that did not fit into memory, and the shape of their token ids."""

    part: Part
    entries: np.ndarray
    shape: torch.Size


class Backward:
    """Computes the gradients of steps.

    A batch that does not fit into memory is cut into two pieces, or four, and so on: the sums of losses of the pieces
    add up to that of the batch, as do their gradients, so the step is the same but for rounding (and for what dropout
    draws). The step begins anew then, from the random state that it began with: the backward that failed has left some
    parameters with a gradient, and others without.

    Args:
        student: the model, or what wraps it.
        task: what it learns.
        compute: device and precision.
        processes: those that train together.
        scaler: of losses in fp16.
    """

    def __init__(
        self,
        student: nn.Module,
        *,
        task: Task,
        compute: Compute,
        processes: Processes,
        scaler: torch.amp.GradScaler,
    ) -> None:
        self.student, self.task = student, task
        self.compute, self.processes, self.scaler = compute, processes, scaler
        self.models: list[nn.Module] = [student, *task.learners()]

    def gradients(self, step: Step, *, weights: Mapping[str, float], pieces: int) -> Gradients:
        """Forward and backward of this process's batches of a step.

        Args:
            step: the step.
            weights: of each term of the loss.
            pieces: forwards of each batch.

        Raises:
            ResourceError: a batch does not fit into memory and cannot be cut; it is named.
        """
        too_large: list[str] = []
        random_state = self._random_state()
        while isinstance(sums := self._sums(step, weights=weights, pieces=pieces), _TooLarge):
            places = sums.part.plan.places(sums.entries)
            self._check_can_be_cut(sums, places=places)
            pieces *= 2
            too_large.append(named(sums.shape, places=places))
            log.warning(
                "out of memory with %s: from now on each batch is read in %d forwards. A step has the same texts, and "
                "its gradient is the same sum; with smaller forwards from the start (see trainer.step_tokens) this "
                "does not come up",
                too_large[-1],
                pieces,
            )
            free_memory(self.compute.device)
            self._set_random_state(random_state)
        self.processes.average_gradients([one for model in self.task.learners() for one in model.parameters()])
        counted = [batch for part in step.parts for batch in part.batches[: part.counted]]
        padded, tokens = sum(batch.ids_BT.numel() for batch in counted), sum(batch.tokens for batch in counted)
        # Looked at once, after all forwards: a GPU would wait at each.
        values = [[value.item() for value in one[: part.counted]] for one, part in zip(sums, step.parts, strict=True)]
        return Gradients(values, padded, tokens, pieces, too_large)

    def _sums(self, step: Step, *, weights: Mapping[str, float], pieces: int) -> list[list[Tensor]] | _TooLarge:
        """The sums of losses of the batches of each part; or what did not fit."""
        for model in self.models:
            model.train()
            model.zero_grad(set_to_none=True)
        sums: list[list[Tensor]] = []
        for part in step.parts:
            is_last_part = part is step.parts[-1]
            sums.append([])
            for at in range(len(part.batches)):
                last = is_last_part and at + 1 == len(part.batches)
                # A process without a batch in the last round still takes part in the exchange of gradients.
                share = self.processes.count if at < part.counted else 0
                found = self._batch(part, at, scale=weights[part.term] * share / part.weight, last=last, pieces=pieces)
                if isinstance(found, _TooLarge):
                    return found
                sums[-1].append(found)
        return sums

    def _batch(self, part: Part, at: int, *, scale: float, last: bool, pieces: int) -> Tensor | _TooLarge:
        """One batch, in pieces: their gradients are added to those that are there; returns its sum of losses."""
        total: Tensor | None = None
        cut = self._cut(part, at, pieces=pieces)
        for entries, batch, is_last_piece in cut:
            found = self._forward_backward(part, batch, scale=scale, last=last and is_last_piece)
            if found is None:
                return _TooLarge(part, entries, batch.ids_BT.shape)
            total = found if total is None else total + found
        assert total is not None
        return total

    def _cut(self, part: Part, at: int, *, pieces: int) -> Iterator[tuple[np.ndarray, AnyBatch, bool]]:
        entries = part.own[at]
        if pieces == 1:
            yield entries, part.batches[at], True
            return
        count = min(pieces, len(entries))
        for number, piece in enumerate(np.array_split(entries, count), start=1):
            yield piece, part.plan.batch(piece, device=self.compute.device), number == count

    def _forward_backward(self, part: Part, batch: AnyBatch, *, scale: float, last: bool) -> Tensor | None:
        """The sum of losses of a piece; None: out of memory.

        Nothing is raised: an error holds on to the frames, and so to the activations, that it came through.
        """
        with contextlib.nullcontext() if last else self.processes.without_sync(self.student):
            try:
                fault_point("backward")
                with self.compute.autocast():
                    output = self.task.loss(self.student, part.term, batch)
                # DDP averages the gradients over the processes; the loss is a sum over them.
                scaled: Tensor = output.sum * scale
                self.scaler.scale(scaled).backward()  # type: ignore[no-untyped-call]
            except MEMORY_ERRORS as error:
                if not is_out_of_memory(error):
                    raise
                return None
        return output.sum.detach()

    def _check_can_be_cut(self, found: _TooLarge, *, places: Sequence[str]) -> None:
        """Refuse where pieces would be something else, or where there is nothing to cut."""

        def refused(advice: str) -> OutOfMemory:
            return out_of_memory(found.shape, places=places, advice=advice)

        if self.processes.count > 1:
            raise refused(
                f"Process {self.processes.rank} of {self.processes.count} ends, and the others with it: they would "
                "wait for its gradients. Resume with half of trainer.batch_tokens, twice trainer.accumulate and "
                "run.allow_changes=true: a step has as many texts as before."
            )
        if not self.task.can_be_cut:
            raise refused(
                "The loss compares the texts of a batch with one another, so half a batch would be another loss. Give "
                "a smaller trainer.batch_tokens, or trainer.gradient_checkpointing=true, and a new run.dir."
            )
        if len(found.entries) == 1:
            raise refused(f"That is a single text. {SMALLER}.")

    def _random_state(self) -> list[Tensor]:
        cuda = [torch.cuda.get_rng_state(self.compute.device)] if self.compute.device.type == "cuda" else []
        return [torch.get_rng_state(), *cuda]

    def _set_random_state(self, state: Sequence[Tensor]) -> None:
        torch.set_rng_state(state[0])
        for one in state[1:]:
            torch.cuda.set_rng_state(one, self.compute.device)
