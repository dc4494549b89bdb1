"""A shallower student: some of the teacher's or the pretrained model's layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mlembed.errors import ConfigError
from mlembed.models.text_model import TextModel


def layers_of(encoder: TextModel) -> tuple[str, nn.ModuleList]:
    """The stack of layers of a Transformer and its name; it is the longest list of modules."""
    named = (
        (name, module) for name, module in encoder.transformer.named_modules() if isinstance(module, nn.ModuleList)
    )
    return max(named, key=lambda item: len(item[1]), default=("", nn.ModuleList()))


def keep_layers(encoder: TextModel, kept: Sequence[int] | None) -> None:
    """Drop all layers but these, in their order.

    Args:
        encoder: it is changed in place, its configuration too, so that it is loaded as it was saved.
        kept: numbers from 0; negative ones count from the last layer; None: all stay.

    Raises:
        ConfigError: there is no such layer, or one is named twice.

    Source: Sanh et al. (2019), DistilBERT, https://arxiv.org/abs/1910.01108 (a student of every other layer).
    """
    if kept is None:
        return
    name, layers = layers_of(encoder)
    count = len(layers)
    if bad := [at for at in kept if not -count <= at < count]:
        raise ConfigError(
            f"model.student.keep_layers: there is no layer {bad[0]}; the model has layers 0 to {count - 1}"
        )
    numbers = [at % count for at in kept]
    if len(set(numbers)) < len(numbers):
        raise ConfigError(f"model.student.keep_layers: a layer is named twice in {list(kept)}")
    parent, _, last = name.rpartition(".")
    setattr(encoder.transformer.get_submodule(parent), last, nn.ModuleList(layers[at] for at in numbers))
    config = encoder.transformer.config
    for key in ("num_hidden_layers", "n_layers"):
        if key in config.to_dict():
            setattr(config, key, len(numbers))
    if getattr(config, "layer_types", None):
        # Of models whose layers differ (local and global attention).
        config.layer_types = [config.layer_types[at] for at in numbers]
