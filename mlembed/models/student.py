"""The ways to start a student, and what of it stays frozen; a new way is a function here."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from mlembed.errors import ConfigError
from mlembed.models.depth import layers_of
from mlembed.models.encoder import Dense, Encoder, load_encoder
from mlembed.models.text_model import TextModel

SHORTCUTS = {"embeddings": "transformer.*embeddings*"}


def copy_student(teacher_folder: Path, *, max_length: int | None, dropout: float | None) -> Encoder:
    """A student that starts as the teacher, with the teacher's vocabulary.

    Args:
        teacher_folder: the teacher's model folder.
        max_length: tokens; None: the teacher's.
        dropout: probability while training; None: as the config says.
    """
    # The folder has been loaded as the teacher: what can still be wrong is what was asked for the student.
    return _exportable(load_encoder(teacher_folder, key="model.student.name", max_length=max_length, dropout=dropout))


def pretrained_student(
    folder: Path, *, teacher: Encoder, pooling: str | None, max_length: int | None, dropout: float | None, seed: int
) -> Encoder:
    """A student that is an encoder of its own, fitted to the teacher's output.

    It gets a projection where its width differs from the teacher's, and normalizes where the teacher does. The
    projection is part of the student, so it is saved and exported with it.

    Args:
        folder: the student's model folder.
        teacher: what it is to answer like.
        pooling: instead of the folder's.
        max_length: tokens, instead of the folder's.
        dropout: probability while training; None: as the config says.
        seed: of the projection's first weights.
    """
    student = _exportable(
        load_encoder(folder, key="model.student.name", pooling=pooling, max_length=max_length, dropout=dropout)
    )
    if student.width != teacher.width:
        layer = Dense(student.width, teacher.width, bias=True, activation="identity")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # Orthogonal: distances of the pretrained space survive the change of width.
            nn.init.orthogonal_(layer.linear.weight)
        nn.init.zeros_(layer.linear.bias)
        student.dense.append(layer)
    student.normalize = teacher.normalize
    return student


def _exportable(student: Encoder) -> Encoder:
    """Refuse a tokenizer that could not be saved for other tools, before a run is spent on it."""
    if not student.tokenizer.is_fast:
        raise ConfigError(
            f"model.student: its tokenizer ({type(student.tokenizer).__name__}) has no tokenizer.json, so an exported "
            "student could not be loaded elsewhere; choose a model with a fast tokenizer"
        )
    return student


@contextmanager
def pooled(student: Encoder) -> Iterator[None]:
    """Let the student give its pooled vectors within this context, without dense layers and normalization."""
    dense, normalize = student.dense, student.normalize
    student.dense, student.normalize = nn.ModuleList(), False
    try:
        yield
    finally:
        student.dense, student.normalize = dense, normalize


def freeze(student: TextModel, *, patterns: Sequence[str], train_top_layers: int | None) -> int:
    """Mark parameters that stay as they are.

    Args:
        student: its `requires_grad` flags are changed.
        patterns: `embeddings`, or patterns over the names of parameters (`*.layer.0.*`).
        train_top_layers: train the last k layers and what comes after them alone; None: all layers.

    Returns:
        Number of parameters that stay as they are.

    Raises:
        ConfigError: when a pattern matches nothing, there are fewer layers, or nothing is left to train.
    """
    named = dict(student.named_parameters())
    frozen: set[str] = set()
    for pattern in patterns:
        matches = fnmatch.filter(named, SHORTCUTS.get(pattern, pattern))
        if not matches:
            examples = ", ".join(list(named)[:: max(1, len(named) // 4)][:4])
            raise ConfigError(
                f"model.student.freeze: {pattern!r} matches no parameter; their names are like {examples}"
            )
        frozen.update(matches)
    if train_top_layers is not None:
        frozen |= _below_top(student, train_top_layers)
    for name in frozen:
        named[name].requires_grad = False
    if frozen >= named.keys():
        raise ConfigError("model.student: all parameters are frozen, so there is nothing to train")
    return sum(named[name].numel() for name in frozen)


def _below_top(student: TextModel, count: int) -> set[str]:
    name, layers = layers_of(student)
    if count > len(layers):
        raise ConfigError(f"model.student.train_top_layers: {count} is more than the model's {len(layers)} layers")
    top = tuple(f"transformer.{name}.{at}." for at in range(len(layers) - count, len(layers)))
    trained = (*top, *student.top_names)
    named = [parameter for parameter, _ in student.named_parameters()]
    # A final norm (ModernBERT, XLM-R-XL) stands after the layers; so do weights that all layers share, which are below.
    end = max((at for at, parameter in enumerate(named) if parameter.startswith(f"transformer.{name}.")), default=-1)
    return {
        parameter
        for at, parameter in enumerate(named)
        if not parameter.startswith(trained) and not (at > end and "norm" in parameter.lower())
    }
