"""Writes an encoder as a folder that sentence-transformers, transformers and text-embeddings-inference load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from mlembed import __version__
from mlembed.export.files import let_others_read, write_config, write_json, write_tokenizer
from mlembed.models.compaction import full_vocabulary
from mlembed.models.encoder import Dense, Encoder

# The classic names: newer ones are not known to older readers, nor to text-embeddings-inference.
MODULE_TYPES = "sentence_transformers.models"
ACTIVATIONS = {"identity": "torch.nn.modules.linear.Identity", "tanh": "torch.nn.modules.activation.Tanh"}


def export_encoder(encoder: Encoder, folder: Path, *, card: str, with_weights: bool = True) -> None:
    """Write a model folder.

    Args:
        encoder: teacher or student; its weights are written as float32.
        folder: an existing folder.
        card: the text of README.md.
        with_weights: whether the Transformer's weights are written; not where they lie in the folder as a graph.
    """
    modules = _write_model(encoder, folder, with_weights=with_weights)
    for layer in encoder.dense:
        path = folder / f"{len(modules)}_Dense"
        modules.append("Dense")
        write_dense(layer, path)
    if encoder.normalize:
        path = folder / f"{len(modules)}_Normalize"
        modules.append("Normalize")
        write_json(path / "config.json", {})
    listed = [
        {"idx": at, "name": str(at), "path": "" if at == 0 else f"{at}_{kind}", "type": f"{MODULE_TYPES}.{kind}"}
        for at, kind in enumerate(modules)
    ]
    write_json(folder / "modules.json", listed)
    if not encoder.is_static:
        limit = {"max_seq_length": encoder.max_length, "do_lower_case": False}
        write_json(folder / "sentence_bert_config.json", limit)
    about = {
        "__version__": {"mlembed": __version__},
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
    write_json(folder / "config_sentence_transformers.json", about)
    (folder / "README.md").write_text(card, encoding="utf-8")
    let_others_read(folder)


def _write_model(encoder: Encoder, folder: Path, *, with_weights: bool) -> list[str]:
    """Write weights and tokenizer; returns the modules that they are."""
    write_tokenizer(encoder, folder)
    if not with_weights:
        write_config(encoder, folder)
        return _write_pooling(encoder, folder)
    with full_vocabulary(encoder):
        if encoder.is_static:
            save_file(_tensors(encoder.transformer), folder / "model.safetensors", metadata={"format": "pt"})
            return ["StaticEmbedding"]
        # Under the names of the modules, also where the weights came under older ones (LayerNorm.gamma).
        encoder.transformer.save_pretrained(folder, save_original_format=False)
    return _write_pooling(encoder, folder)


def _write_pooling(encoder: Encoder, folder: Path) -> list[str]:
    width = int(encoder.transformer.config.hidden_size)
    write_json(folder / "1_Pooling" / "config.json", _pooling(width, encoder.pooling))
    return ["Transformer", "Pooling"]


def write_dense(layer: Dense, path: Path) -> None:
    """Write a dense layer as a folder of sentence-transformers."""
    settings = {
        "in_features": layer.linear.in_features,
        "out_features": layer.linear.out_features,
        "bias": layer.linear.bias is not None,
        "activation_function": ACTIVATIONS[layer.activation],
    }
    write_json(path / "config.json", settings)
    save_file(_tensors(layer), path / "model.safetensors", metadata={"format": "pt"})


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}


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
