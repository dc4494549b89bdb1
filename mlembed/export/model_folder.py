"""Writes any model as a folder for other tools, and puts the weights of such a folder back."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from mlembed.export.classifier import export_classifier
from mlembed.export.files import let_others_read
from mlembed.export.pair_head import write_pair_head
from mlembed.export.sentence_transformers import export_encoder
from mlembed.models.bi_encoder import BiEncoder
from mlembed.models.bi_encoder_folder import PAIR_HEAD
from mlembed.models.classifier import Classifier
from mlembed.models.compaction import full_vocabulary
from mlembed.models.encoder import Encoder
from mlembed.models.text_model import TextModel


def export_model(model: TextModel, folder: Path, *, card: str) -> None:
    """Write a model folder.

    Args:
        model: teacher or student.
        folder: an existing, empty folder.
        card: the text of README.md.
    """
    if isinstance(model, Classifier):
        export_classifier(model, folder, card=card)
    else:
        assert isinstance(model, Encoder)
        export_encoder(model, folder, card=card)
        if isinstance(model, BiEncoder):
            write_pair_head(model, folder)
            let_others_read(folder)


def load_weights(model: TextModel, folder: Path) -> None:
    """Put the weights of a folder of `export_model` into a model of the same shape.

    Raises:
        ValueError: when the folder's weights do not fit.
    """
    tensors = {f"transformer.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    dense = sorted(folder.glob("*_Dense"), key=lambda path: int(path.name.partition("_")[0]))
    for at, path in enumerate(dense):
        tensors |= {f"dense.{at}.{name}": tensor for name, tensor in load_file(path / "model.safetensors").items()}
    if isinstance(model, BiEncoder) and model.pair_head is not None:
        head = load_file(folder / PAIR_HEAD / "model.safetensors")
        tensors |= {f"pair_head.{name}": tensor for name, tensor in head.items()}
    try:
        with full_vocabulary(model):
            model.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise ValueError(f"the weights in {folder} are of another model: {error}") from error


def is_finite(model: TextModel) -> bool:
    """Whether all weights are finite."""
    floats = (one for one in model.state_dict().values() if one.is_floating_point() and one.numel())
    # What is not a number spreads to both ends; a mask of each table would take as long as a step of training.
    return all(bool(torch.isfinite(torch.stack(torch.aminmax(one))).all()) for one in floats)
