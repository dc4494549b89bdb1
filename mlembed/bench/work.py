"""What a training has computed: texts, tokens, and the floating-point operations that the model needs for them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mlembed.models.encoder import Encoder


@dataclass
class Work:
    """The work of a training, added up over its batches.

    Args:
        texts: texts that were read.
        tokens: their tokens, without padding.
        padded: their tokens, with padding.
        attended: sum over batches of `tokens^2 / texts`: tokens times the length of a text.
        attended_padded: the same with padding.
    """

    texts: int = 0
    tokens: int = 0
    padded: int = 0
    attended: float = 0.0
    attended_padded: float = 0.0

    def add(self, *, texts: int, tokens: int, padded: int) -> None:
        """Add a batch."""
        self.texts += texts
        self.tokens += tokens
        self.padded += padded
        self.attended += tokens**2 / texts
        self.attended_padded += padded**2 / texts

    @property
    def padding(self) -> float:
        """Share of padding among all tokens."""
        return 1 - self.tokens / self.padded if self.padded else 0.0


def work_of_run(metrics: Path) -> tuple[Work, float, float]:
    """The work of a training run of mlembed, and where the time of its loop went.

    Args:
        metrics: the run's metrics.jsonl.

    Returns:
        The work, the seconds of all steps, and the seconds of all evaluations between them.
    """
    work, stepping, evaluating = Work(), 0.0, 0.0
    for line in metrics.read_text(encoding="utf-8").splitlines():
        record: dict[str, Any] = json.loads(line)
        if "evaluation" in record:
            evaluating += record["seconds"]
            continue
        tokens = round(record["tokens_per_s"] * record["seconds"])
        work.add(texts=record["texts"], tokens=tokens, padded=round(tokens / (1 - record["padding"])))
        stepping += record["seconds"]
    return work, stepping, evaluating


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a Transformer that its cost follows from.

    Args:
        hidden: width of a token's vector.
        feed_forward: width of the inner layer.
        layers: number of layers.
        matrix_parameters: parameters of all matrices that tokens are multiplied with; tables of embeddings are none.
    """

    hidden: int
    feed_forward: int
    layers: int
    matrix_parameters: int

    def flops(self, *, tokens: int, attended: float) -> float:
        """Floating-point operations of forward and backward, of the model alone: nothing that is computed twice counts.

        `6 N` a token for the N parameters of the matrices (Kaplan et al. 2020, arXiv 2001.08361, section 2.1: 2 forward
        and 4 backward), and `12 L H T` a token for the products of attention in L layers of width H over texts of T
        tokens (Chowdhery et al. 2022, arXiv 2204.02311, appendix B).

        Args:
            tokens: tokens of the whole training.
            attended: sum over its tokens of the length of the token's text, T.
        """
        return 6 * self.matrix_parameters * tokens + 12 * self.layers * self.hidden * attended

    def to_json(self) -> dict[str, int]:
        """The sizes as JSON values."""
        return asdict(self)


def shape_of(encoder: Encoder) -> ModelShape:
    """The sizes of an encoder; dense layers after pooling, one product a text, are left out."""
    config = encoder.transformer.config
    linear = [module for module in encoder.transformer.modules() if isinstance(module, nn.Linear)]
    hidden = int(config.hidden_size)
    return ModelShape(
        hidden=hidden,
        feed_forward=max((max(module.in_features, module.out_features) for module in linear), default=hidden),
        layers=int(getattr(config, "num_hidden_layers", 0)),
        matrix_parameters=sum(module.weight.numel() for module in linear),
    )
