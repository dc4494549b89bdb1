"""The formats of an export: how each is written, and read again by the tool that it is for."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlembed.errors import ConfigError, MlembedError
from mlembed.export.files import let_others_read, write_json
from mlembed.export.model_folder import export_model
from mlembed.export.onnx_folder import GRAPH, SETTINGS, export_onnx
from mlembed.export.onnx_int8 import RECIPES, quantize
from mlembed.export.onnx_reader import OnnxReader
from mlembed.export_verb.verification import (
    Check,
    Read,
    TextOrPair,
    compare,
    onnx_reader,
    own_answers,
    own_reader,
    sentence_transformers_reader,
    transformers_reader,
)
from mlembed.models.classifier import Classifier
from mlembed.models.text_model import TextModel

INT8_COSINE = 0.999


@dataclass(frozen=True)
class Format:
    """One format.

    Args:
        tool: that it is for.
        write: writes a model into an existing, empty folder, without a card.
        read: the folder as the tool reads it.
        difference: the largest that is allowed.
    """

    tool: str
    write: Callable[[TextModel, Path], None]
    read: Callable[[Path, TextModel], Read]
    difference: float


def _write_model(model: TextModel, folder: Path) -> None:
    export_model(model, folder, card="")


def _sentence_transformers() -> Format:
    if importlib.util.find_spec("sentence_transformers") is None:
        return Format("mlembed (sentence-transformers is not installed)", _write_model, own_reader, 1e-5)
    return Format("sentence-transformers", _write_model, sentence_transformers_reader, 1e-5)


# A new format is a function above, or a module of export/, and a line here; an option of --to in verb.py.
FORMATS: dict[str, Callable[[], Format]] = {
    "sentence-transformers": _sentence_transformers,
    "transformers": lambda: Format("transformers", _write_model, transformers_reader, 1e-5),
    "onnx": lambda: Format("onnxruntime", export_onnx, onnx_reader, 1e-4),
}


def check_format(model: TextModel, *, to: str) -> None:
    """Refuse a format that a model cannot have.

    Raises:
        ConfigError: with the formats that it can have.
    """
    if isinstance(model, Classifier) and to in ("sentence-transformers", "static"):
        raise ConfigError(
            f"--to {to}: this model answers with labels, and {to} is for sentence vectors; use --to transformers, onnx "
            "or onnx-int8 (CrossEncoder of sentence-transformers reads the folder of --to transformers)"
        )
    if model.is_static and to in ("transformers", "static"):
        raise ConfigError(
            f"--to {to}: this model is static, a table of vectors without layers; use --to sentence-transformers, onnx "
            "or onnx-int8"
        )


def write_checked(model: TextModel, folder: Path, *, to: str, texts: Sequence[TextOrPair]) -> Check:
    """Write a model in a format, read it with the tool that it is for, and compare the answers.

    Args:
        model: on the CPU.
        folder: an existing, empty folder; it gets no card.
        to: the format, one of `FORMATS` or `onnx-int8`.
        texts: what is compared.

    Raises:
        MlembedError: the tool gives other answers.
        ConfigError: an extra is not installed, or the model cannot be written so.
    """
    expected = own_answers(model, texts)
    chosen = FORMATS["onnx" if to == "onnx-int8" else to]()
    chosen.write(model, folder)
    found = chosen.read(folder, model)(texts)
    check = compare(expected, found, model=model, tool=chosen.tool).require(difference=chosen.difference)
    if to == "onnx-int8":
        check = _make_int8(model, folder, texts=texts, expected=expected)
    let_others_read(folder)
    return check


def _make_int8(model: TextModel, folder: Path, *, texts: Sequence[TextOrPair], expected: list[np.ndarray]) -> Check:
    """Replace the graph by the fastest one with weights of 8 bits that is near enough to the model."""
    tried: list[Check] = []
    quantized = folder / "int8.onnx"
    for by_blocks in RECIPES:
        quantize(folder / GRAPH, quantized, by_blocks=by_blocks)
        found = OnnxReader(folder, graph=quantized).read(texts)
        check = compare(expected, found, model=model, tool="onnxruntime")
        tried.append(check)
        kinds = f"{', '.join(by_blocks)} by blocks" if by_blocks else "one scale for a batch"
        print(f"8 bits, {kinds}: mean cosine {check.cosine:.6f}, least {check.least_cosine:.6f}", file=sys.stderr)
        if check.cosine >= INT8_COSINE:
            quantized.replace(folder / GRAPH)
            settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            write_json(folder / SETTINGS, settings | {"precision": "int8", "by_blocks": list(by_blocks)})
            return check
    best = max(tried, key=lambda one: one.cosine)
    raise MlembedError(
        f"--to onnx-int8: with weights of 8 bits a mean cosine of {INT8_COSINE} is not reached (the best is "
        f"{best.cosine:.5f}), so nothing was written; use --to onnx"
    )
