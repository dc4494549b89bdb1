"""Finds the rows of one source, and rows that occur twice, among rows that fit into memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Grouped:
    """Rows by their sources.

    Args:
        rows: N rows, in the order in which they were read.
        sources: the G distinct sources, in the order of their first rows.
        group_N: for each row the number of its source.
        first_G: for each source the number (`row`) of its first row.
        duplicates: number of a language -> rows that were dropped.
    """

    rows: pa.Table
    sources: pa.Array
    group_N: np.ndarray
    first_G: np.ndarray
    duplicates: Counter[int]

    @property
    def first_N(self) -> np.ndarray:
        """For each row the number of the first row of its source: where the group stands in the corpus."""
        first_N: np.ndarray = self.first_G[self.group_N]
        return first_N


def group(rows: pa.Table, *, drop_duplicates: bool) -> Grouped:
    """Group rows by their sources.

    Args:
        rows: with the columns of `spool.SCHEMA`, each in one piece, in the order of `row`.
        drop_duplicates: keep the first one of several rows with the same source, target and language.
    """
    encoded = _one(rows["source"]).dictionary_encode()
    group_N = encoded.indices.to_numpy().astype(np.int64)
    duplicates: Counter[int] = Counter()
    if drop_duplicates:
        language_N = rows["language"].to_numpy().astype(np.int64)
        target_N = _one(rows["target"]).dictionary_encode().indices.to_numpy().astype(np.int64)
        targets, languages = int(target_N.max()) + 1, int(language_N.max()) + 1
        _, kept = np.unique((group_N * targets + target_N) * languages + language_N, return_index=True)
        if len(kept) < len(group_N):
            kept.sort()
            lost = np.ones(len(group_N), dtype=bool)
            lost[kept] = False
            duplicates.update(language_N[lost].tolist())
            rows, group_N = rows.take(pa.array(kept)), group_N[kept]
    _, first_at_G = np.unique(group_N, return_index=True)
    first_G = rows["row"].to_numpy()[first_at_G]
    return Grouped(rows, encoded.dictionary, group_N, first_G, duplicates)


def _one(column: pa.ChunkedArray) -> pa.Array:
    assert column.num_chunks == 1
    return column.chunk(0)
