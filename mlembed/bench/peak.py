"""The fastest that this machine multiplies matrices of a student's own shapes, in fp32 and in bf16."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from mlembed.bench.work import ModelShape
from mlembed.compute import DTYPES

# Products between two looks at the clock take about this long: short enough to see the best, long enough to sustain it.
CHUNK_SECONDS = 0.1


def measure_peak(shape: ModelShape, *, tokens: int, device: torch.device, seconds: float) -> dict[str, float]:
    """GFLOP/s of the fastest matrix product of a student's shapes, sustained over a tenth of a second.

    What a training step multiplies: tokens by a layer's matrix, forward; and the same three sizes in the two other
    orders, backward. A product of `m x k` with `k x n` counts `2 m k n`.

    Args:
        shape: the student's sizes.
        tokens: rows of the products, as a batch has tokens.
        device: where to measure.
        seconds: time for each precision.

    Returns:
        `fp32` and `bf16` -> GFLOP/s.
    """
    sizes = {(shape.hidden, shape.feed_forward), (shape.hidden, shape.hidden)}
    products = [
        (name, pair) for pair in sorted(sizes) for name in ("forward", "backward to input", "backward to weight")
    ]
    peaks = {}
    for precision in ("fp32", "bf16"):
        rates = [
            _rate(
                _product(name, tokens=tokens, pair=pair, dtype=DTYPES[precision], device=device),
                flop=2 * tokens * pair[0] * pair[1],
                seconds=seconds / len(products),
                device=device,
            )
            for name, pair in products
        ]
        peaks[precision] = max(rates) / 1e9
    return peaks


def _product(
    name: str, *, tokens: int, pair: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> Callable[[], Tensor]:
    wide, narrow = pair[1], pair[0]
    input_TD = torch.randn(tokens, narrow, device=device, dtype=dtype)
    output_TF = torch.randn(tokens, wide, device=device, dtype=dtype)
    weight_FD = torch.randn(wide, narrow, device=device, dtype=dtype)
    if name == "forward":
        return lambda: input_TD @ weight_FD.T
    if name == "backward to input":
        return lambda: output_TF @ weight_FD
    return lambda: output_TF.T @ input_TD


def _rate(product: Callable[[], Tensor], *, flop: int, seconds: float, device: torch.device) -> float:
    """Operations a second of the best chunk."""
    with torch.inference_mode():
        one = statistics.median(_seconds(product, repeats=1, device=device) for _ in range(5))
        repeats = max(1, round(min(CHUNK_SECONDS, seconds / 3) / max(one, 1e-7)))
        best, ends = 0.0, time.perf_counter() + seconds
        while best == 0 or time.perf_counter() < ends:
            best = max(best, flop * repeats / _seconds(product, repeats=repeats, device=device))
    return best


def _seconds(product: Callable[[], Tensor], *, repeats: int, device: torch.device) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        product()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
