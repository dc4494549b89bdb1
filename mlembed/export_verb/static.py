"""`--to static`: the static encoder of a student, and what it is worth beside it, language by language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch

from mlembed.compute import Compute
from mlembed.data.records import Row
from mlembed.errors import ConfigError
from mlembed.export_verb.sentences import SENTENCES
from mlembed.models.encode import encode, encode_tokens
from mlembed.models.encoder import Encoder
from mlembed.models.static_distillation import distil_static, guessed_shares, shares_of
from mlembed.report.metrics import METRICS
from mlembed.tasks.held_out import HeldOut
from mlembed.tokens import TokenTable

CPU = Compute(torch.device("cpu"), "fp32")
DEFAULT_WIDTH = 256
# More texts hardly change how frequent a token is.
COUNTED_TEXTS = 200_000
# Compared where they were measured; the first two need parallel text, the last two scored pairs.
COMPARED = ("retrieval", "sts", "sts_cross")


def make_static(encoder: Encoder, *, width: int | None, texts: Iterator[str] | None) -> Encoder:
    """The static encoder of a student.

    Args:
        encoder: the student, with layers.
        width: dimensions; None: `DEFAULT_WIDTH`, or the student's where that is less.
        texts: that tell how frequent tokens are; None: the tokenizer does.

    Raises:
        ConfigError: `width` is more than the student has.
    """
    if width is not None and width > encoder.width:
        raise ConfigError(f"--width {width}: the model has {encoder.width} dimensions")
    share_V = guessed_shares(encoder) if texts is None else shares_of(islice(texts, COUNTED_TEXTS), encoder)

    def vectors(model: Encoder, tokens: TokenTable) -> np.ndarray:
        return encode_tokens(model, tokens, compute=CPU)

    return distil_static(
        encoder, width=width or min(DEFAULT_WIDTH, encoder.width), share_V=share_V, encode_tokens=vectors
    )


def built_in_test() -> HeldOut:
    """The built-in sentences as a test set: English ones, and their translations."""
    rows = [
        Row(source, target, language, "built-in", at)
        for language, targets in SENTENCES.items()
        for at, (source, target) in enumerate(zip(SENTENCES["en"], targets, strict=True), start=1)
        if language != "en"
    ]
    return HeldOut("built-in sentences", rows)


def quality(student: Encoder, static: Encoder, test: HeldOut, *, seed: int) -> str:
    """What a card says of the static encoder: its results by language beside those of the student."""
    scores = [
        test.measure(lambda texts, model=model: _vectors(model, texts), seed=seed, resamples=0)  # type: ignore[misc]
        for model in (student, static)
    ]
    metrics = [name for name in COMPARED if any(name in row for row in scores[0].values())]
    head = [f"{METRICS[name].title} {which}" for name in metrics for which in ("with layers", "static")]
    lines = [f"| language | {' | '.join(head)} |", "| :--- |" + " ---: |" * len(head)]
    columns: list[list[float]] = []
    for language in scores[0]:
        cells = [
            100 * one[language][name].value if name in one[language] else float("nan")
            for name in metrics
            for one in scores
        ]
        columns.append(cells)
        lines.append(f"| {language} | {' | '.join(_cell(value) for value in cells)} |")
    means = np.nanmean(np.array(columns), axis=0)
    lines.append(f"| **mean** | {' | '.join(f'**{_cell(value)}**' for value in means)} |")
    return (
        "## Static\n\nA table of vectors without layers, made of the student by `mlembed export --to static`: many "
        f"times as fast, and less exact. On {test.name} ({len(test.rows)} translations):\n\n" + "\n".join(lines)
    )


def _vectors(model: Encoder, texts: Sequence[str]) -> np.ndarray:
    return encode(model, texts, compute=CPU)


def _cell(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1f}"
