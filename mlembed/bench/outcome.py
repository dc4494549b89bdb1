"""What one side of a benchmark has done in one round, in the same words for all sides."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlembed.bench.work import ModelShape, Work

# The parts of a process, in their order; they sum to its wall time.
PARTS = {
    "start-up": "imports and configuration",
    "loading": "reading pairs, loading models, and mlembed's warm start",
    "teacher": "the teacher's vectors",
    "training": "tokens and all steps",
    "saving": "checkpoints and the student",
    "evaluation": "before, between and after training",
    "ending": "after the student was saved",
}
# What is no part of the work that is compared.
NOT_COMPARED = ("evaluation", "ending")


@dataclass(frozen=True)
class Outcome:
    """One side in one round.

    Args:
        seconds: the parts of `PARTS`.
        peak_bytes: largest resident memory.
        work: what was trained on.
        pairs: sentence pairs that were trained on, times the epochs.
        student: folder of the trained student.
    """

    seconds: Mapping[str, float]
    peak_bytes: int
    work: Work
    pairs: int
    student: Path

    def figures(self, *, shape: ModelShape, peak_gflops: float) -> dict[str, float]:
        """Every number that is reported.

        Args:
            shape: of the student.
            peak_gflops: the machine's, in the precision of the training.

        Returns:
            Name -> value: seconds by part and in sum, rates in the training, memory, and the share of the peak.
        """
        training = self.seconds["training"]
        wall = sum(self.seconds.values())
        flops = shape.flops(tokens=self.work.tokens, attended=self.work.attended)
        padded_flops = shape.flops(tokens=self.work.padded, attended=self.work.attended_padded)
        return {
            **{f"seconds/{part}": self.seconds[part] for part in PARTS},
            "seconds/end to end": wall - sum(self.seconds[part] for part in NOT_COMPARED),
            "seconds/end to end with evaluation": wall - self.seconds["ending"],
            "seconds/wall": wall,
            "pairs": self.pairs,
            "texts": self.work.texts,
            "tokens": self.work.tokens,
            "padded_tokens": self.work.padded,
            "padding": self.work.padding,
            "pairs_per_s": self.pairs / training,
            "texts_per_s": self.work.texts / training,
            "tokens_per_s": self.work.tokens / training,
            "peak_memory_bytes": self.peak_bytes,
            "model_flops": flops,
            "model_flops_padded": padded_flops,
            "share_of_peak": flops / training / 1e9 / peak_gflops,
            "share_of_peak_padded": padded_flops / training / 1e9 / peak_gflops,
        }


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of every figure over the rounds."""
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
