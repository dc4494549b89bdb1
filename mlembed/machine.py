"""What a run computes with: device, precision, processes, and the signals that end it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np

from mlembed.compute import Compute, Processes, choose_device, choose_precision, keep_freed_memory
from mlembed.faults import fault_point
from mlembed.inputs import Inputs
from mlembed.models.answer import answer
from mlembed.models.text_model import TextModel
from mlembed.progress import counting
from mlembed.signals import StopRequest
from mlembed.tokens import TokenTable

Advance = Callable[[int], None]

# Where the size of a training batch is not known yet.
DEFAULT_BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Machine:
    """Device, precision, processes, signals and screen of a run.

    Args:
        compute: device and precision.
        processes: those that run together.
        stop: the signals.
        progress: `bar`, `lines` or `none`.
        batch_tokens: padded tokens in one forward without gradients.
    """

    compute: Compute
    processes: Processes
    stop: StopRequest
    progress: str
    batch_tokens: int

    def poll(self) -> None:
        """End early when a signal came; not with several processes, which must all end at the same place."""
        if self.processes.count == 1:
            self.stop.check()

    def _poll_within(self, what: str) -> None:
        fault_point(f"encode.{what}")
        self.poll()

    def counting(self, what: str, *, total: int) -> AbstractContextManager[Advance]:
        """The bar of `progress.counting`, in the first process alone."""
        return counting(what, total=total, kind=self.progress if self.processes.is_first else "none")

    def encode(
        self, encoder: TextModel, texts: Sequence[str], *, what: str = "encoding", advance: Advance | None = None
    ) -> np.ndarray:
        """Vectors of texts, `[N, D]` float32; see `models.encode`. Several processes see here whether to end.

        Args:
            encoder: teacher or student.
            texts: N texts.
            what: what the screen calls it.
            advance: of a bar that is shown already, called with the number of texts that were encoded.
        """
        tokens = encoder.tokenize(list(texts), poll=lambda: self._poll_within(what))
        return self.encode_tokens(encoder, tokens, what=what, advance=advance)

    def encode_tokens(
        self, encoder: TextModel, tokens: TokenTable, *, what: str = "encoding", advance: Advance | None = None
    ) -> np.ndarray:
        """Vectors of texts that are tokens already, `[N, D]` float32; see `encode`."""
        return self.answer(encoder, Inputs(tokens), what=what, advance=advance)

    def answer(
        self, model: TextModel, inputs: Inputs, *, what: str = "answering", advance: Advance | None = None
    ) -> np.ndarray:
        """Logits or vectors of rows, or of their words; see `models.answer`.

        Args:
            model: teacher or student.
            inputs: what it reads.
            what: what the screen calls it.
            advance: see `encode`.
        """
        bar = nullcontext(advance) if advance else self.counting(what, total=len(inputs))
        with bar as advance:
            found_AL = answer(
                model,
                inputs,
                compute=self.compute,
                processes=self.processes,
                batch_tokens=self.batch_tokens,
                poll=lambda: self._poll_within(what),
                advance=advance,
            )
        self.agree_to_end()
        return found_AL

    def agree_to_end(self) -> None:
        """End where all of several processes are, when a signal came to one of them; one alone ends when it polls."""
        if self.processes.count > 1:
            self.stop.agree(self.processes.total(self.stop.votes(), self.compute.device))
            self.stop.check_agreed()


def training_tokens(batch_tokens: int | str) -> int:
    """Padded tokens of a forward in training, where `auto` was not resolved yet."""
    return batch_tokens if isinstance(batch_tokens, int) else DEFAULT_BATCH_TOKENS


def encoding_tokens(batch_tokens: int | str, *, device: str) -> int:
    """Padded tokens of a forward that keeps no activations.

    A GPU takes more than in one of training, which it has the memory for; on a CPU that is slower, since less of a
    layer stays in the caches.

    Args:
        batch_tokens: of a forward in training, which may be `auto`.
        device: `auto`, `cpu` or `cuda`.
    """
    tokens = training_tokens(batch_tokens)
    return tokens if choose_device(device).type == "cpu" else 4 * tokens


def make_machine(
    *, device: str, precision: str, processes: Processes | None, stop: StopRequest, progress: str, batch_tokens: int
) -> Machine:
    """Resolve `auto` for device and precision; all processes get the first one's precision."""
    place = choose_device(device)
    if place.type == "cpu":
        keep_freed_memory()
    processes = processes or Processes(place)
    chosen = processes.share(choose_precision(precision, device=place))
    return Machine(Compute(place, chosen), processes, stop, progress, batch_tokens)
