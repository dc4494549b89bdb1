"""A part of a corpus that is small enough for what must hold its texts in memory: vocabularies, alignments."""

from __future__ import annotations

import logging

import numpy as np

from mlembed.data.corpus import Corpus
from mlembed.data.order import order_key, shuffled

log = logging.getLogger("mlembed")

# Pairs that vocabularies and alignments are learnt from, at most: more of them change nothing that can be measured.
MAX_PAIRS = 1_000_000


def sample_pairs(corpus: Corpus, *, seed: int, max_pairs: int = MAX_PAIRS) -> tuple[list[str], np.ndarray]:
    """Texts and pairs of a corpus: all, or so many pairs, evenly over the languages.

    Args:
        corpus: the training groups.
        seed: of the choice.
        max_pairs: most pairs.

    Returns:
        Texts, and `[P, 2]` numbers of a translation and of its source within them.
    """
    if len(corpus.members) <= max_pairs:
        return list(corpus.texts), corpus.pairs()
    quota_L = even_quotas(corpus.counts_L, total=max_pairs)
    first_L = np.cumsum(corpus.counts_L) - corpus.counts_L
    ranks = [
        first_L[at] + shuffled(np.arange(quota), int(corpus.counts_L[at]), key=order_key(seed, at))
        for at, quota in enumerate(quota_L.tolist())
    ]
    chosen = np.sort(corpus.by_language[np.concatenate(ranks)])
    pairs = np.stack([corpus.members[chosen], corpus.source_of_members[chosen]], axis=1)
    numbers, renumbered = np.unique(pairs, return_inverse=True)
    log.info("vocabulary and alignment are learnt from %d of %d pairs", len(pairs), len(corpus.members))
    return corpus.texts[numbers], renumbered.reshape(pairs.shape)


def even_quotas(counts_L: np.ndarray, *, total: int) -> np.ndarray:
    """Parts of counts with at most this sum: all of small ones, and the same number of all others."""
    quota_L = np.zeros_like(counts_L)
    left = total
    # The smallest first: what they leave is for the others.
    for done, at in enumerate(np.argsort(counts_L, kind="stable").tolist()):
        quota_L[at] = min(int(counts_L[at]), left // (len(counts_L) - done))
        left -= int(quota_L[at])
    return quota_L
