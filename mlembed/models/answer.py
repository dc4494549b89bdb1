"""What a frozen model gives for many rows or for all of their words: logits of a head, vectors of an encoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mlembed.compute import Compute, Processes
from mlembed.inputs import Inputs
from mlembed.models.text_model import TextModel
from mlembed.tokens import batches_by_length


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
    """
    batches = batches_by_length(inputs.lengths_N, batch_tokens=batch_tokens)
    mine = batches[processes.rank :: processes.count] if processes else batches
    was_training = model.training
    model.eval()
    count = len(inputs) if inputs.first_W is None else len(inputs.first_W)
    logits_AL = np.zeros((count, model.answers), dtype=np.float32)
    try:
        with torch.inference_mode(), compute.autocast():
            for rows_B in mine:
                poll()
                one = inputs.padded(rows_B, device=compute.device)
                logits = model(*one.arguments)
                logits_AL[rows_B if one.word_M is None else one.word_M] = logits.float().cpu().numpy()
                advance(len(rows_B))
    finally:
        model.train(was_training)
    if processes and processes.count > 1:
        # Each row was written by one process alone and is zero in all others.
        logits_AL = np.sum(processes.collect(logits_AL), axis=0)
    if inputs.first_W is not None:
        logits_AL[inputs.first_W < 0] = np.nan
    return logits_AL
