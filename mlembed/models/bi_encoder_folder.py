"""Loads a model that compares the vectors of two texts: an encoder, and the head beside it where it has one."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from mlembed.errors import ConfigError
from mlembed.models.bi_encoder import COSINE, BiEncoder
from mlembed.models.classifier import Head, refuse_other_labels
from mlembed.models.classifier_folder import has_head
from mlembed.models.encoder import load_encoder
from mlembed.models.folder import MODULES
from mlembed.strict_json import read

# The folder of the head in a model folder.
PAIR_HEAD = "pair_head"
MAX_JSON_BYTES = 1 << 20


def has_pair_head(folder: Path) -> bool:
    """Whether a model folder holds a head for the labels of two texts."""
    return (folder / PAIR_HEAD / "config.json").is_file()


def compares_texts(folder: Path) -> bool:
    """Whether a model folder is one for two texts that are read apart: a sentence encoder, or one with such a head."""
    return not has_head(folder) and ((folder / MODULES).is_file() or has_pair_head(folder))


def load_bi_encoder(
    folder: Path,
    *,
    key: str,
    head: Head | None = None,
    max_length: int | None = None,
    dropout: float | None = None,
) -> BiEncoder:
    """Load a model that compares two texts.

    Args:
        folder: a model folder; only safetensors are read, and no code in it is run.
        key: the configuration key that named it, for messages.
        head: what it must answer; the order of the labels may be another one in the folder. None: what the folder
            says, and where it says nothing, the cosine.
        max_length: tokens, instead of the folder's.
        dropout: probability of all dropout layers, instead of the config's.

    Raises:
        ConfigError: when the folder cannot be loaded, or its labels are others.
    """
    known = _labels(folder, key=key) if has_pair_head(folder) else None
    if head is None:
        head = COSINE if known is None else Head("vectors", known)
    encoder = load_encoder(folder, key=key, max_length=max_length, dropout=dropout)
    model = BiEncoder.of(encoder, head)
    if head.problem == "score":
        return model
    if known is None:
        raise ConfigError(f"{key}: {folder} has no head for the labels of pairs (there is no {PAIR_HEAD}/config.json)")
    refuse_other_labels(known, head.labels, key=key, folder=folder)
    _load_weights(model, folder, places=[known.index(name) for name in head.labels])
    return model


def _labels(folder: Path, *, key: str) -> tuple[str, ...]:
    path = folder / PAIR_HEAD / "config.json"
    try:
        settings = read(path, most_bytes=MAX_JSON_BYTES)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error}") from error
    labels = settings.get("labels") if isinstance(settings, dict) else None
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
        raise ConfigError(f"{key}: {path}: 'labels' is not a list of names")
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise ConfigError(f"{key}: {path}: 'labels' does not name two labels or more, each once")
    return tuple(labels)


def _load_weights(model: BiEncoder, folder: Path, *, places: list[int]) -> None:
    """Put the folder's weights into the head, the rows of its labels in the order of `places`."""
    path = folder / PAIR_HEAD / "model.safetensors"
    try:
        tensors = load_file(path)
        model.pair_head.load_state_dict(tensors)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ConfigError(f"{path} cannot be loaded: {error}") from error
    rows = torch.tensor(places)
    with torch.no_grad():
        for parameter in model.pair_head.parameters():
            parameter.copy_(parameter[rows].clone())
