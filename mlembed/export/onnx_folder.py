"""Writes a model as an ONNX folder: the graph, its tokenizer, and what a caller must know of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlembed.export.files import let_others_read, write_config, write_json, write_tokenizer
from mlembed.export.onnx_graph import input_names, output_names, write_graph
from mlembed.export.sentence_transformers import export_encoder
from mlembed.models.classifier import Classifier
from mlembed.models.encoder import Encoder
from mlembed.models.text_model import TextModel

GRAPH, SETTINGS = "model.onnx", "onnx_config.json"


def export_onnx(model: TextModel, folder: Path) -> None:
    """Write a model folder for onnxruntime; README.md is left to the caller.

    An encoder with layers gets the files of sentence-transformers too, so that text-embeddings-inference and the ONNX
    backend of sentence-transformers find what they look for.

    Args:
        model: on the CPU.
        folder: an existing, empty folder.

    Raises:
        ConfigError: the extra is not installed, the model is too large, or cannot be traced.
        MlembedError: the graph gives other numbers than the model.
    """
    write_graph(model, folder / GRAPH)
    if isinstance(model, Encoder) and not model.is_static:
        export_encoder(model, folder, card="", with_weights=False)
    else:
        write_tokenizer(model, folder)
    if isinstance(model, Classifier):
        write_config(model, folder)
    write_json(folder / SETTINGS, onnx_settings(model))
    let_others_read(folder)


def onnx_settings(model: TextModel) -> dict[str, Any]:
    """What a caller must know who has a tokenizer and a runtime for graphs alone."""
    settings: dict[str, Any] = {
        "inputs": list(input_names(model)),
        "outputs": list(output_names(model)),
        "max_length": model.limit,
        "add_special_tokens": not model.is_static,
        "pad_token": str(model.tokenizer.pad_token),
        "pad_token_id": int(model.tokenizer.pad_token_id),
        "prefix": "",
        "precision": "fp32",
    }
    if isinstance(model, Encoder):
        return settings | {"answers": "vectors", "width": model.width, "normalized": model.normalize}
    assert isinstance(model, Classifier)
    return settings | {"answers": model.head.of, "problem": model.head.problem, "labels": list(model.head.labels)}
