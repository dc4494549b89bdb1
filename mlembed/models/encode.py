"""Text to vectors with a frozen encoder: the teacher's targets, the vectors of an evaluation, `mlembed embed`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from mlembed.compute import Compute, Processes
from mlembed.models.text_model import TextModel
from mlembed.tokens import TokenTable, batches_by_length


def encode(
    encoder: TextModel,
    texts: Sequence[str],
    *,
    compute: Compute,
    processes: Processes | None = None,
    batch_tokens: int = 16384,
    poll: Callable[[], None] = lambda: None,
    advance: Callable[[int], None] = lambda count: None,
) -> np.ndarray:
    """Sentence vectors of texts, in their order.

    Args:
        encoder: teacher or student; it is put into eval mode and back.
        texts: N texts; with several processes all give the same texts, and each encodes its share.
        compute: device and precision.
        processes: those that share the work; None: this one alone.
        batch_tokens: padded tokens in one forward.
        poll: called before each forward; raises to end early.
        advance: called after each forward with the number of texts that were encoded.

    Returns:
        `vectors_ND` float32.
    """
    tokens = encoder.tokenize(list(texts), poll=poll)
    return encode_tokens(
        encoder,
        tokens,
        compute=compute,
        processes=processes,
        batch_tokens=batch_tokens,
        poll=poll,
        advance=advance,
    )


def encode_tokens(
    encoder: TextModel,
    tokens: TokenTable,
    *,
    compute: Compute,
    processes: Processes | None = None,
    batch_tokens: int = 16384,
    poll: Callable[[], None] = lambda: None,
    advance: Callable[[int], None] = lambda count: None,
) -> np.ndarray:
    """Sentence vectors of texts that are tokens already; see `encode`."""
    batches = batches_by_length(tokens.lengths_N, batch_tokens=batch_tokens)
    mine = batches[processes.rank :: processes.count] if processes else batches
    was_training = encoder.training
    encoder.eval()
    vectors_ND = np.zeros((len(tokens), encoder.width), dtype=np.float32)
    try:
        with torch.inference_mode(), compute.autocast():
            for texts_B in mine:
                poll()
                ids_BT, mask_BT = tokens.padded(texts_B, device=compute.device)
                vectors_ND[texts_B] = encoder(ids_BT, mask_BT).float().cpu().numpy()
                advance(len(texts_B))
    finally:
        encoder.train(was_training)
    if processes and processes.count > 1:
        # Each row was written by one process alone and is zero in all others.
        vectors_ND = np.sum(processes.collect(vectors_ND), axis=0)
    return vectors_ND
