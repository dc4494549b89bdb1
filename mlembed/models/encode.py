"""Text to vectors with a frozen encoder: the teacher's targets, the vectors of an evaluation, `mlembed embed`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mlembed.compute import Compute, Processes
from mlembed.inputs import Inputs
from mlembed.models.answer import answer
from mlembed.models.text_model import TextModel
from mlembed.tokens import TokenTable


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
    return answer(
        encoder,
        Inputs(tokens),
        compute=compute,
        processes=processes,
        batch_tokens=batch_tokens,
        poll=poll,
        advance=advance,
    )
