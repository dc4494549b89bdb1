"""Batches of rows that have answers, by people or by a teacher: a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mlembed.data.plan import POOL_TEXTS
from mlembed.inputs import Inputs, Padded
from mlembed.tokens import batches_by_length


@dataclass(frozen=True)
class LabelBatch:
    """Rows for one forward.

    Args:
        inputs: what the student reads.
        rows_B: their numbers.
        weight_B: weight of each row, for each of its answers.
        weight_M: weight of each answer (of each row, or of each of its words) in the loss.
    """

    inputs: Padded
    rows_B: np.ndarray
    weight_B: Tensor
    weight_M: Tensor

    @property
    def ids_BT(self) -> Tensor:
        """Token ids, padded."""
        return self.inputs.ids_BT

    @property
    def tokens(self) -> int:
        """Tokens without padding."""
        return self.inputs.tokens

    @property
    def answers_M(self) -> np.ndarray:
        """The numbers of the answers: of rows, or of words among the words of all rows."""
        return self.rows_B if self.inputs.word_M is None else self.inputs.word_M


class LabelPlan:
    """The batches of every epoch over N rows in memory.

    The rows of an epoch are shuffled and cut into pools; a pool is sorted by length and cut into batches, which are
    shuffled.

    Args:
        inputs: token ids of the rows.
        places: `file:line` of each row.
        batch_tokens: padded tokens of a batch, at most (a single row may be longer).
        batch_rows: rows of a batch, at most; None: as many as have room.
        seed: of the order.
        row_weights_N: weight of each row in the loss, for each of its answers; None: 1.
        draws_N: how often each row is drawn, beside others; None: each once in an epoch.
    """

    def __init__(
        self,
        inputs: Inputs,
        *,
        places: Sequence[str],
        batch_tokens: int,
        seed: int,
        batch_rows: int | None = None,
        row_weights_N: np.ndarray | None = None,
        draws_N: np.ndarray | None = None,
    ) -> None:
        self.inputs, self.batch_tokens, self.seed = inputs, batch_tokens, seed
        self._places, self._batch_rows = places, batch_rows
        self.row_weights_N = np.ones(len(inputs)) if row_weights_N is None else row_weights_N
        self.draws_N = draws_N
        self._last: tuple[int, list[np.ndarray]] = (-1, [])

    def epoch(self, epoch: int) -> list[np.ndarray]:
        """The batches of an epoch, in their order; the same on every machine."""
        # Looked at once: the thread that makes batches ahead may be in another epoch.
        last = self._last
        if last[0] != epoch:
            self._last = last = (epoch, self._make(epoch))
        return last[1]

    def _make(self, epoch: int) -> list[np.ndarray]:
        generator = np.random.Generator(np.random.PCG64([self.seed, epoch, len(self.inputs)]))
        rows_N = generator.permutation(self._drawn(generator))
        batches: list[np.ndarray] = []
        for start in range(0, len(rows_N), POOL_TEXTS):
            pool = rows_N[start : start + POOL_TEXTS]
            lengths = self.inputs.lengths_N[pool]
            batches += [
                pool[at]
                for at in batches_by_length(lengths, batch_tokens=self.batch_tokens, batch_texts=self._batch_rows)
            ]
        return [batches[at] for at in generator.permutation(len(batches))]

    def _drawn(self, generator: np.random.Generator) -> np.ndarray:
        """The rows of an epoch: each once, or as often as its share says, rounded up or down by chance."""
        count = len(self.inputs)
        if self.draws_N is None:
            return np.arange(count)
        ends_N = np.cumsum(self.draws_N) * (count / self.draws_N.sum())
        drawn: np.ndarray = np.searchsorted(ends_N, np.arange(count) + generator.random(), side="right")
        return drawn.clip(max=count - 1)

    def weight(self, entries: np.ndarray) -> float:
        """The sum of the weights of all answers of some rows: what their loss is divided by."""
        return float((self.row_weights_N[entries] * self.inputs.units(entries)).sum())

    def batch(self, entries: np.ndarray, *, device: torch.device) -> LabelBatch:
        """Put some rows together."""
        padded = self.inputs.padded(entries, device=device)
        weight_B = torch.from_numpy(self.row_weights_N[entries]).to(device, torch.float32)
        units_B = torch.from_numpy(self.inputs.units(entries)).to(device)
        return LabelBatch(padded, entries, weight_B, weight_B.repeat_interleave(units_B))

    def places(self, entries: np.ndarray) -> list[str]:
        """`file:line` of some rows."""
        return list(dict.fromkeys(self._places[row] for row in entries.tolist()))
