"""Which texts form which batch: a pure function of (seed, epoch), so that a position is one number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mlembed.data.corpus import Corpus
from mlembed.tokens import TokenTable, batches_by_length

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


class BatchPlan:
    """The batches of every epoch.

    The plan is over entries: each source once, whatever the number of its translations, and each translation. An entry
    is learnt from the teacher's vector of its source, so entries of one source need not stand in one batch: batches of
    equal length hold more different sentences, and hardly any padding.

    Args:
        corpus: the training groups.
        tokens: token ids of the corpus's texts.
        batch_tokens: padded tokens of a batch, at most (a single text may be longer).
        source_weight: weight of a source sentence in the loss, beside 1 for a translation; at 0 the student does not
            read it.
        seed: of the order.
    """

    def __init__(
        self, corpus: Corpus, *, tokens: TokenTable, batch_tokens: int, source_weight: float, seed: int
    ) -> None:
        self.corpus = corpus
        self.tokens = tokens
        self.batch_tokens = batch_tokens
        self.seed = seed
        sources_S = np.arange(corpus.source_count if source_weight > 0 else 0)
        # Entries: the sources, then the translations.
        self.text_E = np.concatenate([sources_S, corpus.members])
        self.source_E = np.concatenate([sources_S, corpus.source_of_members])
        self.weight_E = np.concatenate([np.full(len(sources_S), source_weight), np.ones(len(corpus.members))])
        self.lengths_E = tokens.lengths_N[self.text_E]
        self.first_member = len(sources_S)

    def epoch(self, epoch: int) -> list[np.ndarray]:
        """The batches of an epoch, in their order, each an array of entries; the same on every machine."""
        generator = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        order = generator.permutation(len(self.text_E))
        batches: list[np.ndarray] = []
        for start in range(0, len(order), POOL_TEXTS):
            pool = order[start : start + POOL_TEXTS]
            batches += [pool[at] for at in batches_by_length(self.lengths_E[pool], batch_tokens=self.batch_tokens)]
        return [batches[at] for at in generator.permutation(len(batches))]

    def steps_in(self, epoch: int, *, batches_per_step: int) -> int:
        """Optimizer steps of an epoch."""
        return -(-len(self.epoch(epoch)) // batches_per_step)

    def weight(self, entries: np.ndarray) -> float:
        """The sum of the weights of some entries: what their loss is divided by, known before any forward."""
        return float(self.weight_E[entries].sum())

    def batch(self, entries: np.ndarray, *, device: torch.device) -> Batch:
        """Put the texts of some entries together."""
        ids_BT, mask_BT = self.tokens.padded(self.text_E[entries], device=device)
        source_G, group_B = np.unique(self.source_E[entries], return_inverse=True)
        return Batch(
            ids_BT=ids_BT,
            mask_BT=mask_BT,
            source_G=source_G,
            group_B=torch.from_numpy(group_B).to(device),
            weight_B=torch.from_numpy(self.weight_E[entries]).to(device, torch.float32),
            tokens=int(self.lengths_E[entries].sum()),
        )

    def places(self, entries: np.ndarray) -> list[str]:
        """`file:line` of the rows of some entries; of a source, its first row."""
        members = [
            self.corpus.offsets[entry] if entry < self.first_member else entry - self.first_member
            for entry in entries.tolist()
        ]
        return list(dict.fromkeys(self.corpus.place(int(member)) for member in members))
