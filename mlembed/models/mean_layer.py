"""Lets a head that reads the first token read the mean of all tokens, in a model that every tool loads."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from mlembed.models.depth import layers_of
from mlembed.models.encoder import Encoder

# How much the mean counts beside what stood at the first token; the normalization after it takes the scale out again.
GAIN = 30.0


def add_mean_layer(encoder: Encoder) -> bool:
    """Add a layer at the top that gives each token the normalized mean of all.

    Heads of transformers read the first token, which sentence encoders never trained: their vectors are means. The new
    layer is one like the others. Its queries and keys are zero, so that it attends to all tokens alike; its values are
    the tokens themselves, its feed-forward part adds nothing: `LN(x + GAIN * mean(x))`, which is nearly `LN(mean(x))`.
    It is trained as the others are.

    Args:
        encoder: it is changed in place, its configuration too, so that it is loaded as it was saved.

    Returns:
        Whether it was done: layers must be those of BERT, RoBERTa and their kin (XLM-R, CamemBERT, ELECTRA).
    """
    _, layers = layers_of(encoder)
    if not len(layers):
        return False
    layer: Any = copy.deepcopy(layers[-1])
    try:
        attention, output = layer.attention.self, layer.attention.output
        parts = (attention.query, attention.key, layer.output.dense)
        norms, mix = (output.LayerNorm, layer.output.LayerNorm), (attention.value, output.dense)
    except AttributeError:
        return False
    with torch.no_grad():
        for linear in parts:
            _fill(linear, torch.zeros_like(linear.weight))
        for linear, scale in zip(mix, (1.0, GAIN), strict=True):
            _fill(linear, scale * torch.eye(linear.weight.shape[0]))
        for norm in norms:
            norm.weight.fill_(1.0)
            norm.bias.zero_()
    layers.append(layer)
    encoder.transformer.config.num_hidden_layers += 1
    return True


def _fill(linear: nn.Linear, weight: Tensor) -> None:
    linear.weight.copy_(weight)
    linear.bias.zero_()
