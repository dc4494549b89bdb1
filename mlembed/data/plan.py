"""Which texts form which batch: a pure function of (seed, epoch), so that a position is one number."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from mlembed.data.corpus import Corpus
from mlembed.data.order import order_key, shuffled
from mlembed.data.sampling import Draw, Sampling
from mlembed.tokens import Tokens, batches_by_length

# Texts are sorted by length within pools of this many: large enough for little padding, small enough to stay shuffled.
POOL_TEXTS = 16384


@dataclass(frozen=True)
class Batch:
    """Texts for one forward, whatever their language or role.

    Args:
        ids_BT: token ids, padded.
        mask_BT: 1 for a token, 0 for padding.
        source_G: numbers of the G distinct sources of the batch.
        group_B: for each text the position of its source in `source_G`.
        weight_B: weight of each text in the loss.
        tokens: tokens without padding.
    """

    ids_BT: Tensor
    mask_BT: Tensor
    source_G: np.ndarray
    group_B: Tensor
    weight_B: Tensor
    tokens: int


class Epoch(Sequence[np.ndarray]):
    """The batches of an epoch, each an array of entries; they are put together when they are asked for.

    Args:
        plan: the plan.
        epoch: its number, from 0.
    """

    def __init__(self, plan: BatchPlan, epoch: int) -> None:
        self._plan, self._epoch = plan, epoch
        # Batches before each pool, and in all.
        self._ends_P = np.concatenate([[0], np.cumsum(plan.batches_by_pool(epoch), dtype=np.int64)])
        self._last: tuple[int, list[np.ndarray]] = (-1, [])

    def __len__(self) -> int:
        return int(self._ends_P[-1])

    @overload
    def __getitem__(self, at: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, at: slice) -> list[np.ndarray]: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        if not 0 <= at < len(self):
            raise IndexError(f"batch {at} of {len(self)}")
        pool = int(np.searchsorted(self._ends_P, at, side="right")) - 1
        if self._last[0] != pool:
            self._last = (pool, self._plan.pool_batches(self._epoch, pool))
        return self._last[1][at - int(self._ends_P[pool])]


class BatchPlan:
    """The batches of every epoch: a pure function of seed and epoch, and none of them in memory before its turn.

    An epoch is over entries: each source once, whatever the number of its translations, and the translations that are
    drawn, which without sampling are all. An entry is learnt from the teacher's vector of its source, so entries of one
    source need not stand in one batch: batches of equal length hold more different sentences, and hardly any padding.
    The entries are shuffled and cut into pools; a pool is sorted by length and cut into batches, which are shuffled.

    Entry e is source e where e < S, and else the translation with the number e - S; without sources S is 0.

    Args:
        corpus: the training groups.
        tokens: token ids of the corpus's texts.
        batch_tokens: padded tokens of a batch, at most (a single text may be longer).
        source_weight: weight of a source sentence in the loss, beside 1 for a translation; at 0 the student does not
            read it.
        seed: of the order.
        sampling: how often each language is drawn.

    Raises:
        ConfigError: the sampling names a language that there is not.
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        tokens: Tokens,
        batch_tokens: int,
        source_weight: float,
        seed: int,
        sampling: Sampling = Sampling(),  # noqa: B008 - it is frozen
    ) -> None:
        self.corpus, self.tokens = corpus, tokens
        self.batch_tokens, self.source_weight, self.seed = batch_tokens, source_weight, seed
        self.first_member = corpus.source_count if source_weight > 0 else 0
        self.draw = Draw(corpus, sampling, seed=seed)
        self.size = self.first_member + len(self.draw)
        # Counted once: the trainer asks for the steps of all epochs before the first one.
        self.batches_by_pool = functools.cache(self._count)

    def texts(self, entries: np.ndarray) -> np.ndarray:
        """Numbers of the texts of some entries."""
        return self._looked_up(entries, self.corpus.members)

    def sources(self, entries: np.ndarray) -> np.ndarray:
        """Numbers of the sources of some entries."""
        return self._looked_up(entries, self.corpus.source_of_members)

    def _looked_up(self, entries: np.ndarray, of_members: np.ndarray) -> np.ndarray:
        found = entries.copy()
        is_member = entries >= self.first_member
        found[is_member] = of_members[entries[is_member] - self.first_member]
        return found

    def pool(self, epoch: int, number: int) -> np.ndarray:
        """The entries of a pool, in the order in which they are drawn."""
        places = np.arange(number * POOL_TEXTS, min((number + 1) * POOL_TEXTS, self.size))
        entries = shuffled(places, self.size, key=order_key(self.seed, epoch))
        is_member = entries >= self.first_member
        members = self.draw.members(entries[is_member] - self.first_member, epoch=epoch)
        entries[is_member] = members + self.first_member
        return entries

    def _count(self, epoch: int) -> np.ndarray:
        """Batches of each pool of an epoch: of 40 million entries in a few seconds, in memory for one pool."""
        pools = range(-(-self.size // POOL_TEXTS))
        return np.array([count_batches(self._lengths(self.pool(epoch, at)), self.batch_tokens) for at in pools])

    def _lengths(self, entries: np.ndarray) -> np.ndarray:
        return self.tokens.lengths(self.texts(entries))

    def pool_batches(self, epoch: int, number: int) -> list[np.ndarray]:
        """The batches of a pool, in their order."""
        pool = self.pool(epoch, number)
        batches = [pool[at] for at in batches_by_length(self._lengths(pool), batch_tokens=self.batch_tokens)]
        generator = np.random.Generator(np.random.PCG64([self.seed, epoch, number]))
        return [batches[at] for at in generator.permutation(len(batches))]

    def epoch(self, epoch: int) -> Epoch:
        """The batches of an epoch, in their order; the same on every machine."""
        return Epoch(self, epoch)

    def weights(self, entries: np.ndarray) -> np.ndarray:
        """The weight of each of some entries in the loss."""
        return np.where(entries < self.first_member, self.source_weight, 1.0)

    def weight(self, entries: np.ndarray) -> float:
        """The sum of the weights of some entries: what their loss is divided by, known before any forward."""
        return float(self.weights(entries).sum())

    def batch(self, entries: np.ndarray, *, device: torch.device) -> Batch:
        """Put the texts of some entries together."""
        ids_BT, mask_BT = self.tokens.padded(self.texts(entries), device=device)
        source_G, group_B = np.unique(self.sources(entries), return_inverse=True)
        return Batch(
            ids_BT=ids_BT,
            mask_BT=mask_BT,
            source_G=source_G,
            group_B=torch.from_numpy(group_B).to(device),
            weight_B=torch.from_numpy(self.weights(entries)).to(device, torch.float32),
            tokens=int(self._lengths(entries).sum()),
        )

    def places(self, entries: np.ndarray) -> list[str]:
        """`file:line` of the rows of some entries; of a source, its first row."""
        members = [
            self.corpus.offsets[entry] if entry < self.first_member else entry - self.first_member
            for entry in entries.tolist()
        ]
        return list(dict.fromkeys(self.corpus.place(int(member)) for member in members))

    def texts_by_language(self) -> dict[str, int]:
        """Texts of each language in an epoch, the translations as they are drawn."""
        return self.draw.counts()


def count_batches(lengths_N: np.ndarray, batch_tokens: int) -> int:
    """How many batches `batches_by_length` makes, without making them."""
    descending_N = np.sort(lengths_N)[::-1]
    at = count = 0
    while at < len(descending_N):
        at += max(1, batch_tokens // max(1, int(descending_N[at])))
        count += 1
    return count
