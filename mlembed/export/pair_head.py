"""Writes the head of a model that says which label two texts have together, beside its encoder."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from mlembed.export.files import write_json
from mlembed.models.bi_encoder import BiEncoder
from mlembed.models.bi_encoder_folder import PAIR_HEAD

# For whoever reads the folder without mlembed.
READS = "u, v and |u - v| of the vectors of the two texts, one after another, times the square root of their width"


def write_pair_head(model: BiEncoder, folder: Path) -> None:
    """Write the head into a model folder; other tools see the encoder alone.

    Args:
        model: without a head, nothing is written.
        folder: of the model.
    """
    if model.pair_head is None:
        return
    path = folder / PAIR_HEAD
    write_json(path / "config.json", {"labels": list(model.head.labels), "reads": READS})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.pair_head.state_dict().items()}
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
