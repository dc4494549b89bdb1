"""The files that all exported folders have in common."""

from __future__ import annotations

import copy
import inspect
import json
from pathlib import Path
from typing import Any

from mlembed.models.text_model import TextModel


def write_tokenizer(model: TextModel, folder: Path) -> None:
    """Write a tokenizer for old and new readers alike, with what the model takes of it."""
    # What the last call cut and padded to is no part of the tokenizer.
    model.tokenizer.backend_tokenizer.no_truncation()
    model.tokenizer.backend_tokenizer.no_padding()
    model.tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    # The name that transformers 5 writes is unknown to version 4 and to other readers.
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    if not model.is_static:
        settings["model_max_length"] = model.max_length
    # The class above gives token types too, which are known to some models only.
    known = set(inspect.signature(model.transformer.forward).parameters)
    if getattr(model.transformer.config, "type_vocab_size", 2) < 2:  # XLM-R: a second type would be one too many
        known.discard("token_type_ids")
    settings["model_input_names"] = [name for name in model.tokenizer.model_input_names if name in known]
    for private in ("backend", "is_local", "local_files_only", "auto_map"):
        settings.pop(private, None)
    write_json(path, settings)


def write_config(model: TextModel, folder: Path) -> None:
    """Write config.json alone, as transformers does beside weights."""
    config = copy.deepcopy(model.transformer.config)
    config.architectures = [type(model.transformer).__name__]
    config.dtype = "float32"
    config.save_pretrained(folder)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def let_others_read(folder: Path) -> None:
    """Give all files the usual rights: safetensors makes some that other users (a server, a container) cannot read."""
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
