"""Loads a model with its head from a folder, whoever wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from mlembed.errors import ConfigError
from mlembed.models.classifier import HEADS, PROBLEMS, Classifier, Head, Of, Problem, auto_class, refuse_other_labels
from mlembed.models.encoder import load_transformer, token_limit
from mlembed.models.folder import architectures, refuse_lower_case


def load_classifier(
    folder: Path, *, key: str, head: Head, max_length: int | None = None, dropout: float | None = None
) -> Classifier:
    """Load a model with its head.

    Args:
        folder: a model folder; only safetensors are read, and no code in it is run.
        key: the configuration key that named it, for messages.
        head: what it must answer; the order of the labels may be another one in the folder.
        max_length: tokens, instead of the folder's.
        dropout: probability of all dropout layers, instead of the config's.

    Raises:
        ConfigError: when the folder cannot be loaded, or its labels are others.
    """
    loaded = _load(folder, key=key, of=head.of, max_length=max_length, dropout=dropout)
    refuse_other_labels(loaded.head.labels, head.labels, key=key, folder=folder)
    return _reordered(loaded, head)


def load_any_classifier(folder: Path, *, key: str) -> Classifier:
    """Load a model with the head that its folder says it has, from mlembed or from somebody else.

    Without `problem_type` in config.json one number is a score, and several are one label of several, as everywhere.

    Args:
        folder: a model folder; only safetensors are read, and no code in it is run.
        key: the configuration key that named it, for messages.

    Raises:
        ConfigError: when the folder cannot be loaded, or has no such head.
    """
    return _load(folder, key=key, of=head_of(folder, key=key))


def head_of(folder: Path, *, key: str) -> Of:
    """What the head of a model folder answers for, without loading the model.

    Raises:
        ConfigError: it has no head for labels.
    """
    names = architectures(folder)
    for name in names:
        for ending, of in HEADS.items():
            if name.endswith(ending):
                return of
    said = f"config.json says {', '.join(names)}" if names else "nothing in it says so"
    raise ConfigError(
        f"{key}: {folder} has no head for labels or scores ({said}); mlembed embed gives the vectors of its texts, and "
        "where a pair of texts is to be compared, the cosine of their vectors is the score"
    )


def has_head(folder: Path) -> bool:
    """Whether a model folder says that its model has a head for labels."""
    return any(name.endswith(tuple(HEADS)) for name in architectures(folder))


def _load(folder: Path, *, key: str, of: Of, max_length: int | None = None, dropout: float | None = None) -> Classifier:
    refuse_lower_case(folder, key=key)
    transformer, tokenizer = load_transformer(folder, key=key, dropout=dropout, auto_class=auto_class(of))
    limit = token_limit(folder, transformer, tokenizer, asked=max_length, key=key)
    numbered = transformer.config.id2label
    texts = {name for name in numbered.values() if isinstance(name, str)}
    if sorted(numbered) != list(range(len(numbered))) or len(texts) < len(numbered):
        raise ConfigError(f"{key}: id2label in {folder}/config.json does not name each label once, with numbers from 0")
    names = tuple(str(numbered[number]) for number in range(len(numbered)))
    problem = _problem(transformer.config, of=of, key=key, folder=folder)
    return Classifier(transformer, tokenizer=tokenizer, max_length=limit, head=Head(of, names, problem))


def _problem(config: Any, *, of: Of, key: str, folder: Path) -> Problem:
    if of == "words" or config.problem_type == PROBLEMS["one"]:
        return "one"
    if config.problem_type == PROBLEMS["many"]:
        return "many"
    if config.num_labels > 1 and config.problem_type is not None:
        raise ConfigError(f"{key}: {folder} gives {config.num_labels} scores at once, which mlembed does not know")
    return "score" if config.num_labels == 1 else "one"


def _reordered(loaded: Classifier, head: Head) -> Classifier:
    """The same model with the head's order of labels, and its problem: the last layer's rows change places."""
    places = torch.tensor([loaded.head.labels.index(name) for name in head.labels])
    # Some families (XLM-R) define the head before the body.
    body = loaded.transformer.base_model_prefix
    own = [child for name, child in loaded.transformer.named_children() if name != body]
    last = [module for child in own for module in child.modules() if isinstance(module, nn.Linear)][-1]
    assert last.out_features == len(places)
    with torch.no_grad():
        last.weight.copy_(last.weight[places])
        if last.bias is not None:
            last.bias.copy_(last.bias[places])
    for key, value in head.settings().items():
        setattr(loaded.transformer.config, key, value)
    return Classifier(loaded.transformer, tokenizer=loaded.tokenizer, max_length=loaded.max_length, head=head)
