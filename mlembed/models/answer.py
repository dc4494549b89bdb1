"""What a frozen model gives for many rows or for all of their words: logits of a head, vectors of an encoder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from mlembed.compute import Compute, Processes
from mlembed.faults import fault_point
from mlembed.inputs import Inputs, Padded
from mlembed.memory import MEMORY_ERRORS, free_memory, is_out_of_memory, named, out_of_memory
from mlembed.models.text_model import TextModel
from mlembed.tokens import batches_by_length

log = logging.getLogger("mlembed")


def answer(
    model: TextModel,
    inputs: Inputs,
    *,
    compute: Compute,
    processes: Processes | None = None,
    batch_tokens: int = 16384,
    poll: Callable[[], None] = lambda: None,
    advance: Callable[[int], None] = lambda count: None,
) -> np.ndarray:
    """Logits (of an encoder: vectors) of all rows, or of all their words, in their order.

    A batch that does not fit into memory is read in pieces, as are those after it: what a row gets is the same.

    Args:
        model: it is put into eval mode and back.
        inputs: N rows; with several processes all give the same, and each answers its share.
        compute: device and precision.
        processes: those that share the work; None: this one alone.
        batch_tokens: padded tokens in one forward.
        poll: called before each forward; raises to end early.
        advance: called after each forward with the number of rows that were answered.

    Returns:
        `[N, L]` float32, or `[W, L]` of words; a word that was cut off has no numbers (nan).

    Raises:
        ResourceError: a single row does not fit into memory.
    """
    batches = batches_by_length(inputs.lengths_N, batch_tokens=batch_tokens)
    mine = batches[processes.rank :: processes.count] if processes else batches
    was_training = model.training
    model.eval()
    count = len(inputs) if inputs.first_W is None else len(inputs.first_W)
    logits_AL = np.zeros((count, model.answers), dtype=np.float32)
    try:
        with torch.inference_mode(), compute.autocast():
            for one_B, one, logits_ML in _answered(model, inputs, mine, device=compute.device, poll=poll):
                logits_AL[one_B if one.word_M is None else one.word_M] = logits_ML
                advance(len(one_B))
    finally:
        model.train(was_training)
    if processes and processes.count > 1:
        # Each row was written by one process alone and is zero in all others.
        logits_AL = np.sum(processes.collect(logits_AL), axis=0)
    if inputs.first_W is not None:
        logits_AL[inputs.first_W < 0] = np.nan
    return logits_AL


def _answered(
    model: TextModel, inputs: Inputs, batches: Sequence[np.ndarray], *, device: torch.device, poll: Callable[[], None]
) -> Iterator[tuple[np.ndarray, Padded, np.ndarray]]:
    """Rows, what was read of them, and their logits; a batch at a time, or a piece of one."""
    pieces = 1
    for rows_B in batches:
        done = 0
        while done < len(rows_B):
            poll()
            piece_B = rows_B[done : done + -(-len(rows_B) // pieces)]
            one = inputs.padded(piece_B, device=device)
            logits_ML = _forward(model, one)
            if logits_ML is None:
                pieces = _more_pieces(pieces, one)
                free_memory(device)
                continue
            yield piece_B, one, logits_ML
            done += len(piece_B)


def _forward(model: TextModel, one: Padded) -> np.ndarray | None:
    """The logits of a batch, float32; None: out of memory."""
    try:
        fault_point("forward")
        logits_ML: np.ndarray = model(*one.arguments).float().cpu().numpy()
    except MEMORY_ERRORS as error:
        if not is_out_of_memory(error):
            raise
        return None
    return logits_ML


def _more_pieces(pieces: int, one: Padded) -> int:
    """Twice as many.

    Raises:
        ResourceError: there was a single text.
    """
    shape = one.ids_BT.shape
    if shape[0] == 1:
        advice = "That is a single text: give a smaller max_length, or a smaller model."
        raise out_of_memory(shape, places=(), advice=advice)
    log.warning("out of memory with %s: each is read in %d pieces from here on", named(shape, places=()), 2 * pieces)
    return 2 * pieces
