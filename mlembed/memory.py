"""What running out of memory looks like, on a CPU and on a GPU, and what can be done about it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mlembed.errors import OutOfMemory

# Whoever catches these asks `is_out_of_memory`: a RuntimeError may be anything.
MEMORY_ERRORS = (MemoryError, RuntimeError)
# PyTorch has a type of its own for GPUs alone. What its allocator says on a CPU (Linux, Windows), and what libraries
# of NVIDIA say that take memory by themselves.
_WORDS = (
    "can't allocate memory",
    "not enough memory",
    "CUDA out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
SMALLER = "Use a smaller model.student.max_length, trainer.gradient_checkpointing=true, or a smaller student"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is used up."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def out_of_memory(shape: Sequence[int], *, places: Sequence[str], advice: str) -> OutOfMemory:
    """The error of a batch that does not fit into memory.

    Args:
        shape: of its token ids: texts, tokens.
        places: `file:line` of its rows.
        advice: what to do.
    """
    return OutOfMemory(f"out of memory with {named(shape, places=places)}. {advice}")


def named(shape: Sequence[int], *, places: Sequence[str]) -> str:
    """A batch in words.

    Args:
        shape: of its token ids: texts, tokens.
        places: `file:line` of its rows.
    """
    rows = f" (rows such as {', '.join(places[:3])})" if places else ""
    return f"a batch of {shape[0]} texts of {shape[1]} tokens{rows}"


def free_memory(device: torch.device) -> None:
    """Give back what the device holds for later; a CPU holds nothing."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
