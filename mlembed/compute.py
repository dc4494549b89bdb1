"""Where and how precisely the machine computes, and the processes that compute together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch

from mlembed.errors import MlembedError, ResourceError

T = TypeVar("T")

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """A device and a precision.

    Args:
        device: where tensors live.
        precision: `fp32`, `bf16` or `fp16`; weights are always float32, matrix products are computed in this precision.
    """

    device: torch.device
    precision: str

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Compute matrix products in the chosen precision within this context."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.precision])


def choose_device(device: str) -> torch.device:
    """Resolve `auto`: CUDA where there is one, this process's own under torchrun.

    Raises:
        ResourceError: when CUDA is asked for and is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("device=cuda: PyTorch finds no CUDA device; write device=cpu or auto")
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(place)
    return place


def choose_precision(precision: str, *, device: torch.device) -> str:
    """Resolve `auto`: bf16 where it computes faster than fp32 here, by a measurement of a few milliseconds."""
    if precision != "auto":
        return precision
    return "bf16" if _seconds(device, torch.bfloat16) < 0.9 * _seconds(device, torch.float32) else "fp32"


def _seconds(device: torch.device, dtype: torch.dtype) -> float:
    """Median seconds of a matrix product of the size that a small encoder has."""
    left, right = torch.ones(1024, 384, device=device, dtype=dtype), torch.ones(384, 1536, device=device, dtype=dtype)
    times = []
    for _ in range(9):
        start = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let the process keep what it frees, for the tensors of the next step.

    glibc gives blocks of more than 32 MiB back to the system at once and gets them anew, zeroed page by page, at the
    next step: without that, a step of a 12-layer encoder on two cores takes 12 to 18 % less time. The peak of memory
    is what it was, it is held longer. Does nothing where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        # Older versions take 32 MiB at most.
        _ = mallopt(M_MMAP_THRESHOLD, 1 << 30) or mallopt(M_MMAP_THRESHOLD, 1 << 25)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


class Processes:
    """The processes of one run, started by torchrun; or this one alone.

    Args:
        device: this process's device.
    """

    def __init__(self, device: torch.device) -> None:
        self.rank, self.count = 0, 1
        self.accelerator = None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import Accelerator

            self.accelerator = Accelerator(cpu=device.type == "cpu")
            self.rank, self.count = self.accelerator.process_index, self.accelerator.num_processes

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def wrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model, with gradients averaged over all processes."""
        return model if self.accelerator is None else self.accelerator.prepare_model(model)

    def without_sync(self, model: torch.nn.Module) -> contextlib.AbstractContextManager[Any]:
        """Keep gradients of this process to itself until the last forward of a step."""
        return contextlib.nullcontext() if self.accelerator is None else self.accelerator.no_sync(model)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Average gradients of parameters that `wrap` does not know over all processes."""
        if self.accelerator is None:
            return
        for parameter in parameters:
            if parameter.requires_grad:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= self.count

    def total(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Sum numbers over all processes."""
        if self.accelerator is None:
            return list(values)
        # Integers of tokens must survive: float64, and not on the devices that have none.
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(tensor)
        return tensor.tolist()

    def share(self, value: Any) -> Any:
        """The first process's value, for all."""
        if self.accelerator is None:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def first(self, work: Callable[[], T]) -> T:
        """What a piece of work of the first process gives, for all; when it fails, all end, and the first says why."""
        result: T | None = None
        error: MlembedError | None = None
        if self.is_first:
            try:
                result = work()
            except MlembedError as raised:
                error = raised
        result, exit_code = self.share((result, error.exit_code if error else None))
        if error is not None:
            raise error
        if exit_code is not None:
            raise SystemExit(exit_code)
        return cast("T", result)

    def collect(self, value: Any) -> list[Any]:
        """The values of all processes, in the order of their ranks, for all."""
        if self.accelerator is None:
            return [value]
        from accelerate.utils import gather_object

        return list(gather_object([value]))

    def has_lost_another(self, error: BaseException) -> bool:
        """Whether an error says that another process has left the group; gloo has no type for it, but its name."""
        if self.count == 1:
            return False
        return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)

    def close(self) -> None:
        """Leave the group, so that no process waits for one that has ended."""
        if self.accelerator is not None:
            self.accelerator.end_training()
            self.accelerator = None
