"""Looks at what a model's config.json asks for, before transformers acts on it: memory, and code from elsewhere."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from mlembed.errors import ConfigError
from mlembed.strict_json import read

MAX_CONFIG_BYTES = 1 << 24
# Names of a size, and of a number of layers, in the families of transformers.
_SIZE = re.compile(r"size|dim|width|embeddings|heads|vocab|d_model|d_ff|experts|inner|groups|kernel|num_labels")
_LAYERS = re.compile(r"layers|n_layer|num_blocks|depth")
# Their other values have transformers look for code, on the hub too.
_IMPLEMENTATION = re.compile(r"(attn|attention|experts)_implementation|use_kernels|kernel_config")
_PLAIN = (None, False, "eager", "sdpa")
# A small model may have sizes beyond the number of its weights: of a table that is computed, or not used.
_ALWAYS_ALLOWED = 1 << 20


def check_config(folder: Path, *, key: str) -> None:
    """Refuse a config.json that asks for more than the weights beside it hold, or for code from elsewhere.

    Args:
        folder: of the model.
        key: the configuration key that named it, for messages.

    Raises:
        ConfigError: it does, or it cannot be read.
    """
    path = folder / "config.json"
    try:
        settings = read(path, most_bytes=MAX_CONFIG_BYTES)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error}") from error
    elements, tensors = _held(folder)
    if not tensors:
        raise ConfigError(f"{key}: there is no file named model.safetensors in {folder}; other formats are not read")
    for name, value in _leaves(settings):
        if _IMPLEMENTATION.search(name) and value not in _PLAIN:
            raise ConfigError(f"{key}: {path} asks for code of its own ({name}), which mlembed does not run")
        if isinstance(value, int) and value > _most(name, elements=elements, tensors=tensors):
            raise ConfigError(f"{key}: {path} says {name}={value}, but the weights beside it are of less")


def check_size(config: Any, folder: Path, *, auto_class: Any, key: str) -> None:
    """Refuse a model that would have more parameters than the weights beside it.

    Transformers would make up those that are missing, and take memory for them first. It is built without memory here.

    Args:
        config: of the model.
        folder: of the model.
        auto_class: of transformers.
        key: the configuration key that named it, for messages.

    Raises:
        ConfigError: it would.
    """
    with torch.device("meta"):
        model = auto_class.from_config(config, trust_remote_code=False)
    wanted = sum(parameter.numel() for parameter in model.parameters())
    elements, _ = _held(folder)
    # Tied weights are there once, and counted twice; a pooler or a head may be missing.
    if wanted > 2 * elements + _ALWAYS_ALLOWED:
        text = f"{folder}/config.json asks for {wanted:,} parameters, but the weights beside it are {elements:,}"
        raise ConfigError(f"{key}: {text}")


def check_weights(missing: Iterable[str], *, folder: Path, unused: str | None, key: str) -> None:
    """Refuse a model of whose weights some were not there: transformers fills them with random numbers.

    Args:
        missing: names of the weights.
        folder: of the model.
        unused: what the names of weights begin with that are not used; None: all are.
        key: the configuration key that named it, for messages.

    Raises:
        ConfigError: some were not there.
    """
    names = sorted(name for name in missing if not (unused and name.startswith(unused)))
    if names:
        raise ConfigError(f"{key}: {len(names)} weights of the model are not in {folder}, such as {names[0]}")


def check_use(transformer: Any, tokenizer: Any, *, folder: Path, key: str) -> None:
    """Refuse what loads but cannot be used as an encoder, before the first batch finds out.

    Raises:
        ConfigError: it cannot.
    """
    config = transformer.config
    if getattr(config, "is_encoder_decoder", False) or getattr(config, "hidden_size", None) is None:
        raise ConfigError(f"{key}: {folder} is a {config.model_type} model, which is not a text encoder")
    if tokenizer.pad_token_id is None:
        raise ConfigError(f"{key}: the tokenizer in {folder} has no padding token")
    longest = tokenizer.model_max_length
    if not isinstance(longest, int | float) or not longest >= 1:
        raise ConfigError(f"{key}: {folder}/tokenizer_config.json: model_max_length {longest!r} is no number of tokens")
    rows = transformer.get_input_embeddings().num_embeddings
    if max(tokenizer.get_vocab().values(), default=-1) >= rows:
        raise ConfigError(f"{key}: the tokenizer in {folder} has more tokens than the {rows} that the model knows")


def is_panic(error: BaseException) -> bool:
    """Whether it is an error that a library in Rust did not expect: a class that nobody can import, no Exception."""
    return type(error).__name__ == "PanicException"


def _most(name: str, *, elements: int, tensors: int) -> float:
    """The greatest number that may stand under a name."""
    if _LAYERS.search(name):
        return tensors
    return max(elements, _ALWAYS_ALLOWED) if _SIZE.search(name) else math.inf


def _held(folder: Path) -> tuple[int, int]:
    """Numbers and tensors in the weights of a folder, by their headers; what cannot be read has none."""
    elements = tensors = 0
    for path in folder.glob("*.safetensors"):
        if not path.is_file():
            continue
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no dict
                count = 1
                for size in file.get_slice(name).get_shape():
                    count *= size
                elements, tensors = elements + count, tensors + 1
    return elements, tensors


def _leaves(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if _IMPLEMENTATION.search(key):
                yield key, value
            elif key not in ("id2label", "label2id"):  # whose names are the user's own
                yield from _leaves(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from _leaves(value, name)
    else:
        yield name, node
