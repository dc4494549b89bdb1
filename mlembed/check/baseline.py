"""What teacher and untrained student score on the test set, or on a part of a large one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlembed.data.order import order_key, shuffled
from mlembed.data.scored import ScoredPair
from mlembed.tasks.held_out import HeldOut

# Rows that are measured, in all languages.
MOST_ROWS = 1000
# Scored pairs of a language that are measured.
MOST_SCORED = 150


def part_of(held_out: HeldOut, *, seed: int) -> tuple[HeldOut, bool]:
    """A held-out set of at most about `MOST_ROWS` rows, and whether it is the whole."""
    sources = held_out.sources
    whole = len(held_out.rows) <= MOST_ROWS
    rows = held_out.rows
    if not whole:
        count = max(2, len(sources) * MOST_ROWS // len(held_out.rows))
        kept = {sources[at] for at in shuffled(np.arange(count), len(sources), key=order_key(seed)).tolist()}
        rows = [row for row in held_out.rows if row.source in kept]
    scored = held_out.scored
    if scored is not None:
        whole = whole and all(len(pairs) <= MOST_SCORED for pairs in scored.pairs.values())
        scored = replace(scored, pairs={language: _first(pairs) for language, pairs in scored.pairs.items()})
    name = held_out.name if whole else f"a part of {held_out.name}, {len({row.source for row in rows})} sources"
    return HeldOut(name, rows, scored), whole


def _first(pairs: Sequence[ScoredPair]) -> Sequence[ScoredPair]:
    return pairs[:MOST_SCORED]
