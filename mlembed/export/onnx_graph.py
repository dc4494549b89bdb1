"""A model as one ONNX graph: token ids to sentence vectors, or to the logits of its head."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlembed.errors import ConfigError, MlembedError
from mlembed.models.classifier import Classifier
from mlembed.models.encoder import Encoder
from mlembed.models.text_model import TextModel

# TEI and sentence-transformers look for these names; the second output is for tools that pool by themselves.
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
VECTOR_OUTPUTS, LOGIT_OUTPUTS = ("sentence_embedding", "last_hidden_state"), ("logits",)
# Batch and tokens of the inputs that a new graph is tried with; the last one is as long as the model allows.
SHAPES = ((1, 1), (1, 9), (3, 17), (8, 64), (2, 512))
TOLERANCE = 1e-4
# Of protobuf, for one file.
MAX_BYTES = (1 << 31) - (1 << 20)


class _Vectors(nn.Module):
    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        hidden_BTD = self.encoder.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.encoder.vectors_of(hidden_BTD, attention_mask), hidden_BTD


class _Logits(nn.Module):
    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.transformer = classifier.transformer

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: Tensor = self.transformer(input_ids=input_ids, attention_mask=attention_mask, **types).logits
        return logits


def input_names(model: TextModel) -> tuple[str, ...]:
    """What the graph of a model takes; token types where there is a head for pairs that knows them."""
    has_types = isinstance(model, Classifier) and model.has_types and model.head.of == "text"
    return INPUTS if has_types else INPUTS[:2]


def output_names(model: TextModel) -> tuple[str, ...]:
    """What the graph of a model gives: `[B, D]` and `[B, T, D]`, or logits `[B, L]`, of words `[B, T, L]`."""
    return LOGIT_OUTPUTS if isinstance(model, Classifier) else VECTOR_OUTPUTS


def write_graph(model: TextModel, path: Path) -> None:
    """Write encoder, pooling, projection and normalization, or a model with its head, as one file.

    Batch and sequence may have any size. The file is tried with inputs of five shapes, padded ones among them.

    Args:
        model: on the CPU; it is put into eval mode.
        path: of the file.

    Raises:
        ConfigError: the extra is not installed, the model is too large for one file, or cannot be traced.
        MlembedError: the graph gives other numbers than the model.
    """
    require_onnx()
    size = sum(one.numel() for one in model.state_dict().values()) * 4
    if size > MAX_BYTES:
        raise ConfigError(
            f"--to onnx: {size / 1e9:.1f} GB of weights do not fit into one ONNX file (2 GB); --prune-vocabulary makes "
            "the table of tokens smaller"
        )
    model.eval()
    graph = _Vectors(model) if isinstance(model, Encoder) else _Logits(model)  # type: ignore[arg-type]
    names = input_names(model)
    axes = {0: "batch", 1: "sequence"}
    with torch.no_grad(), _quietly():
        try:
            program: Any = torch.onnx.export(
                graph,
                _inputs(model, (2, 7)),
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=list(names),
                output_names=list(output_names(model)),
                dynamic_shapes=tuple(axes for _ in names),
            )
        except Exception as error:  # the exporter has errors of its own for each of its stages
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"--to onnx: PyTorch cannot export a {_kind(model)} model: {reason}") from error
        program.save(str(path), external_data=False)
        _try_out(graph, model, path)


def require_onnx() -> None:
    """Say what to install where the extra is missing.

    Raises:
        ConfigError: it is missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f'{error.name} is not installed: pip install "mlembed[onnx]"') from error


def _try_out(graph: nn.Module, model: TextModel, path: Path) -> None:
    """Compare the file with the model, at each of the shapes.

    Raises:
        MlembedError: they differ.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch, tokens in SHAPES:
        shape = (batch, min(tokens, model.max_length))
        inputs = _inputs(model, shape)
        expected = graph(*inputs)
        expected = (expected if isinstance(expected, tuple) else (expected,))[0].numpy()
        fed = {name: tensor.numpy() for name, tensor in zip(input_names(model), inputs, strict=True)}
        found = session.run([output_names(model)[0]], fed)[0]
        difference = float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))
        if not difference <= TOLERANCE:
            raise MlembedError(
                f"--to onnx: with {shape[0]} x {shape[1]} tokens the graph and the model differ by {difference:.1g}; "
                "nothing was written"
            )


def _inputs(model: TextModel, shape: tuple[int, int]) -> tuple[Tensor, ...]:
    """Ids drawn at random, the second half of every second text padded."""
    rows = model.transformer.get_input_embeddings().num_embeddings
    ids_BT = torch.randint(0, rows, shape, generator=torch.Generator().manual_seed(shape[1]))
    # A token in the place of the padding would be taken for padding by families that count positions by it.
    pad = int(model.tokenizer.pad_token_id)
    ids_BT[ids_BT == pad] = (pad + 1) % rows
    mask_BT = torch.ones(shape, dtype=torch.int64)
    mask_BT[1::2, (shape[1] + 1) // 2 :] = 0
    ids_BT[mask_BT == 0] = pad
    return (ids_BT, mask_BT, torch.zeros_like(ids_BT))[: len(input_names(model))]


def _kind(model: TextModel) -> str:
    return str(model.transformer.config.model_type)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """What the exporter says of libraries that are not there, and of names of axes, helps nobody."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
