"""Writes an encoder as a folder that sentence-transformers, transformers and text-embeddings-inference load."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mlembed import __version__
from mlembed.models.compaction import full_vocabulary
from mlembed.models.encoder import Dense, Encoder

# The classic names: newer ones are not known to older readers, nor to text-embeddings-inference.
MODULE_TYPES = "sentence_transformers.models"
ACTIVATIONS = {"identity": "torch.nn.modules.linear.Identity", "tanh": "torch.nn.modules.activation.Tanh"}


def export_encoder(encoder: Encoder, folder: Path, *, card: str) -> None:
    """Write a model folder.

    Args:
        encoder: teacher or student; its weights are written as float32.
        folder: an existing, empty folder.
        card: the text of README.md.
    """
    modules = _write_model(encoder, folder)
    for layer in encoder.dense:
        path = folder / f"{len(modules)}_Dense"
        modules.append("Dense")
        write_dense(layer, path)
    if encoder.normalize:
        path = folder / f"{len(modules)}_Normalize"
        modules.append("Normalize")
        _write_json(path / "config.json", {})
    listed = [
        {"idx": at, "name": str(at), "path": "" if at == 0 else f"{at}_{kind}", "type": f"{MODULE_TYPES}.{kind}"}
        for at, kind in enumerate(modules)
    ]
    _write_json(folder / "modules.json", listed)
    if not encoder.is_static:
        limit = {"max_seq_length": encoder.max_length, "do_lower_case": False}
        _write_json(folder / "sentence_bert_config.json", limit)
    about = {
        "__version__": {"mlembed": __version__},
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
    _write_json(folder / "config_sentence_transformers.json", about)
    (folder / "README.md").write_text(card, encoding="utf-8")
    for path in folder.rglob("*"):
        # save_file makes files that other users (a server, a container) cannot read.
        path.chmod(0o755 if path.is_dir() else 0o644)


def _write_model(encoder: Encoder, folder: Path) -> list[str]:
    """Write weights and tokenizer; returns the modules that they are."""
    _write_tokenizer(encoder, folder)
    with full_vocabulary(encoder):
        if encoder.is_static:
            save_file(_tensors(encoder.transformer), folder / "model.safetensors", metadata={"format": "pt"})
            return ["StaticEmbedding"]
        # Under the names of the modules, also where the weights came under older ones (LayerNorm.gamma).
        encoder.transformer.save_pretrained(folder, save_original_format=False)
    width = int(encoder.transformer.config.hidden_size)
    _write_json(folder / "1_Pooling" / "config.json", _pooling(width, encoder.pooling))
    return ["Transformer", "Pooling"]


def write_dense(layer: Dense, path: Path) -> None:
    """Write a dense layer as a folder of sentence-transformers."""
    settings = {
        "in_features": layer.linear.in_features,
        "out_features": layer.linear.out_features,
        "bias": layer.linear.bias is not None,
        "activation_function": ACTIVATIONS[layer.activation],
    }
    _write_json(path / "config.json", settings)
    save_file(_tensors(layer), path / "model.safetensors", metadata={"format": "pt"})


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}


def load_weights(encoder: Encoder, folder: Path) -> None:
    """Put the weights of a folder of `export_encoder` into an encoder of the same shape.

    Raises:
        ValueError: when the folder's weights do not fit.
    """
    tensors = {f"transformer.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    dense = sorted(folder.glob("*_Dense"), key=lambda path: int(path.name.partition("_")[0]))
    for at, path in enumerate(dense):
        tensors |= {f"dense.{at}.{name}": tensor for name, tensor in load_file(path / "model.safetensors").items()}
    try:
        with full_vocabulary(encoder):
            encoder.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise ValueError(f"the weights in {folder} are of another model: {error}") from error


def _write_tokenizer(encoder: Encoder, folder: Path) -> None:
    # What the last call cut and padded to is no part of the tokenizer.
    encoder.tokenizer.backend_tokenizer.no_truncation()
    encoder.tokenizer.backend_tokenizer.no_padding()
    encoder.tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    # The name that transformers 5 writes is unknown to version 4 and to other readers.
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    if not encoder.is_static:
        settings["model_max_length"] = encoder.max_length
    # The class above gives token types too, which are known to some models only.
    known = inspect.signature(encoder.transformer.forward).parameters
    settings["model_input_names"] = [name for name in encoder.tokenizer.model_input_names if name in known]
    for private in ("backend", "is_local", "local_files_only", "auto_map"):
        settings.pop(private, None)
    _write_json(path, settings)


def _pooling(width: int, pooling: str) -> dict[str, Any]:
    return {
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean",
        "pooling_mode_max_tokens": pooling == "max",
        "pooling_mode_mean_sqrt_len_tokens": False,
        "pooling_mode_weightedmean_tokens": False,
        "pooling_mode_lasttoken": False,
        "include_prompt": True,
    }


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def is_finite(encoder: Encoder) -> bool:
    """Whether all weights are finite."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in encoder.state_dict().values())
