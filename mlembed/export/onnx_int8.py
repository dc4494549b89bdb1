"""An ONNX graph with weights of 8 bits: a quarter of the size, and faster on a CPU."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mlembed.export.onnx_graph import require_onnx

Kind = Literal["narrowing", "widening", "square"]
# Weights that have a scale for each block of so many, and activations too.
BLOCK = 32
INT8_MAX = 127
# Of MatMulNBits: activations are quantized as well, each block by itself.
INT8_ACTIVATIONS = 4

# What is quantized by blocks, from the fastest graph to the most exact one. The second matrix of a feed-forward layer
# (narrowing) comes first: what it reads has outliers, which one scale for a whole batch makes everybody pay for.
RECIPES: tuple[tuple[Kind, ...], ...] = (
    (),
    ("narrowing",),
    ("narrowing", "widening"),
    ("narrowing", "widening", "square"),
)


def quantize(source: Path, target: Path, *, by_blocks: tuple[Kind, ...]) -> None:
    """Quantize the matrices and the tables of a graph.

    Matrices have a scale for each column, and what they are multiplied with gets one scale for a batch when it is
    there (dynamic quantization). Some kinds have scales by blocks, on both sides: more exact, and slower. A table has a
    scale for each row. Attention itself, normalization and heads stay as they are.

    Args:
        source: a graph of `write_graph`.
        target: the file that is written.
        by_blocks: what gets scales by blocks.

    Raises:
        ConfigError: the extra is not installed.

    Source: Jacob et al. (2018), https://arxiv.org/abs/1712.05877; of outliers, Dettmers et al. (2022), LLM.int8(),
    https://arxiv.org/abs/2208.07339. Both ways of quantizing are onnxruntime's.
    """
    require_onnx()
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quietly():
        kept = [name for name, kind in _matrices(onnx.load(str(source))) if kind in by_blocks]
        quantize_dynamic(
            str(source),
            str(target),
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        model = onnx.load(str(target))
        if kept:
            model = _quantize_blocks(model)
        _quantize_tables(model.graph)
        onnx.save(model, str(target))


def _quantize_blocks(model: Any) -> Any:
    """Quantize what is left of the matrices."""
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    settings = DefaultWeightOnlyQuantConfig(
        block_size=BLOCK, is_symmetric=True, accuracy_level=INT8_ACTIVATIONS, bits=8
    )
    quantizer = MatMulNBitsQuantizer(model, algo_config=settings)
    quantizer.process()
    return quantizer.model.model


def _quantize_tables(graph: Any) -> None:
    """Look up rows of 8 bits, and multiply each by its scale; onnxruntime itself has one scale for a whole table."""
    from onnx import helper, numpy_helper

    initializers = {one.name: one for one in graph.initializer}
    nodes = []
    for node in graph.node:
        table = initializers.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or len(table.dims) != 2 or any(one.i for one in node.attribute if one.name == "axis"):
            nodes.append(node)
            continue
        name, ids, found = table.name, node.input[1], node.output[0]
        table_VD = numpy_helper.to_array(table)
        if table_VD.dtype != np.float32:
            nodes.append(node)
            continue
        scale_V1 = np.maximum(np.abs(table_VD).max(axis=1, keepdims=True) / INT8_MAX, np.finfo(np.float32).tiny)
        whole_VD = np.rint(table_VD / scale_V1).astype(np.int8)
        graph.initializer.append(numpy_helper.from_array(whole_VD, f"{name}_int8"))
        graph.initializer.append(numpy_helper.from_array(scale_V1.astype(np.float32), f"{name}_scale"))
        nodes += [
            helper.make_node("Gather", [f"{name}_int8", ids], [f"{found}_int8"], axis=0),
            helper.make_node("Cast", [f"{found}_int8"], [f"{found}_whole"], to=table.data_type),
            helper.make_node("Gather", [f"{name}_scale", ids], [f"{found}_scale"], axis=0),
            helper.make_node("Mul", [f"{found}_whole", f"{found}_scale"], [found]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    for one in [one for one in graph.initializer if one.name not in read]:
        graph.initializer.remove(one)


def _matrices(graph: Any) -> Iterator[tuple[str, Kind]]:
    """The products with a matrix of weights, by name, and what the matrix does to the width."""
    shapes = {one.name: tuple(one.dims) for one in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type == "MatMul" and len(shape := shapes.get(node.input[1], ())) == 2:
            yield node.name, "square" if shape[0] == shape[1] else "narrowing" if shape[0] > shape[1] else "widening"


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The quantizers set up the root logger, and advise there to prepare the graph, which the exporter has done."""
    logger = logging.getLogger()
    level, handlers = logger.level, list(logger.handlers)
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.handlers[:] = handlers
