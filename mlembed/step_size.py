"""How an optimizer step is cut into forwards: as few as fit into memory, and no slower than more of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import psutil
import torch

from mlembed.compute import Compute
from mlembed.errors import ConfigError, ResourceError
from mlembed.models.text_model import TextModel
from mlembed.tokens import Tokens

log = logging.getLogger("mlembed")

SMALLEST_BATCH = 256
# A larger batch must not be slower than the fastest by more than this: on a CPU, small ones stay in its caches.
TOLERATED_SLOWNESS = 1.05
# Among so many texts, spread evenly over all, the longest are looked for.
MAX_TEXTS = 500_000
# The next size takes twice as much at most; the rest is for optimizer states, checkpoints and other programs.
SHARE_OF_FREE_MEMORY = 0.6


def forwards_per_step(step_tokens: int, *, batch_tokens: int, processes: int) -> int:
    """How many forwards each process does in an optimizer step of `step_tokens` padded tokens.

    Raises:
        ConfigError: a forward of all processes is larger than the step, or the step is no multiple of it.
    """
    together = batch_tokens * processes
    if step_tokens % together:
        devices = f" on each of {processes} devices" if processes > 1 else ""
        raise ConfigError(
            f"trainer.step_tokens: {step_tokens} is no multiple of trainer.batch_tokens={batch_tokens}{devices}; "
            f"write step_tokens={max(1, round(step_tokens / together)) * together}, or batch_tokens=auto"
        )
    return step_tokens // together


@dataclass(frozen=True)
class Measured:
    """One size that was tried.

    Args:
        batch_tokens: padded tokens of a forward.
        tokens_per_s: of forward and backward.
    """

    batch_tokens: int
    tokens_per_s: float


def find_batch_tokens(
    student: TextModel,
    tokens: Tokens,
    *,
    step_tokens: int,
    compute: Compute,
    poll: Callable[[], None] = lambda: None,
) -> int:
    """The largest batch that fits and is no slower than smaller ones, found by running it.

    The longest of many texts are used, since they need the most memory for the same number of tokens. The student, its
    gradients and the random state are left as they were.

    Args:
        student: on its device.
        tokens: of the training corpus.
        step_tokens: padded tokens of an optimizer step of this process; the result is this number halved as often as
            needed.
        compute: device and precision.
        poll: called before each size; raises to end early.

    Raises:
        ResourceError: not even the smallest size fits.
    """
    sizes = [step_tokens]
    while sizes[0] % 2 == 0 and sizes[0] // 2 >= SMALLEST_BATCH:
        sizes.insert(0, sizes[0] // 2)
    found: list[Measured] = []
    was_training = student.training
    student.train()
    for size in sizes:
        poll()
        if found and not _may_fit(compute):
            break
        try:
            found.append(Measured(size, _tokens_per_s(student, tokens, batch_tokens=size, compute=compute)))
        except torch.OutOfMemoryError:
            break
        finally:
            student.zero_grad(set_to_none=True)
            if compute.device.type == "cuda":
                torch.cuda.empty_cache()
    student.train(was_training)
    if not found:
        raise ResourceError(
            f"trainer.batch_tokens=auto: a forward and backward of {sizes[0]} tokens is out of memory already. Use a "
            "smaller student, model.student.max_length, or trainer.gradient_checkpointing=true."
        )
    return _choose(found)


def _choose(found: list[Measured]) -> int:
    fastest = max(one.tokens_per_s for one in found)
    chosen = max(one.batch_tokens for one in found if one.tokens_per_s * TOLERATED_SLOWNESS >= fastest)
    figures = ", ".join(f"{one.batch_tokens}: {one.tokens_per_s:,.0f} tokens/s" for one in found)
    log.info("batch_tokens=auto: %d (%s)", chosen, figures)
    return chosen


def _may_fit(compute: Compute) -> bool:
    """Whether twice the size that was just run has room; a GPU says so itself."""
    if compute.device.type == "cuda":
        return True
    used, free = psutil.Process().memory_info().rss, psutil.virtual_memory().available
    return bool(free * SHARE_OF_FREE_MEMORY > used)


def _tokens_per_s(student: TextModel, tokens: Tokens, *, batch_tokens: int, compute: Compute) -> float:
    """Padded tokens a second of forward and backward, the best of two after one that is not counted."""
    seen_N = np.unique(np.linspace(0, len(tokens) - 1, MAX_TEXTS, dtype=np.int64))
    lengths_N = tokens.lengths(seen_N)
    count = max(1, min(len(seen_N), batch_tokens // int(lengths_N.max())))
    longest = seen_N[np.argpartition(lengths_N, len(seen_N) - count)[-count:]]
    seconds = []
    devices = [compute.device] if compute.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        for _ in range(3):
            ids_BT, mask_BT = tokens.padded(longest, device=compute.device)
            started = time.perf_counter()
            with compute.autocast():
                loss = student(ids_BT, mask_BT).square().sum()
            loss.backward()
            if compute.device.type == "cuda":
                torch.cuda.synchronize(compute.device)
            seconds.append(time.perf_counter() - started)
    return float(ids_BT.numel()) / min(seconds[1:])
