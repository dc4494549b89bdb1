"""Rows become groups: one source sentence with all its translations, so that the source is read once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlembed.data.records import Row


@dataclass(frozen=True)
class Corpus:
    """Distinct texts and the groups that they form.

    The texts begin with the S distinct sources, so a source's number is its text's number too.

    Args:
        texts: distinct texts, sources first.
        source_count: S, the number of sources and of groups.
        members: numbers of the texts of all translations, group after group, int64.
        offsets: group g has the translations `members[offsets[g]:offsets[g + 1]]`; S + 1 entries.
        rows: for each member the row that it comes from, for messages.
    """

    texts: list[str]
    source_count: int
    members: np.ndarray
    offsets: np.ndarray
    rows: list[Row]

    @property
    def sources(self) -> list[str]:
        """The distinct source sentences."""
        return self.texts[: self.source_count]

    @property
    def source_of_members(self) -> np.ndarray:
        """For each translation the number of its source."""
        return np.repeat(np.arange(self.source_count), np.diff(self.offsets))

    def pairs(self) -> np.ndarray:
        """Numbers of all translations and of their sources, `[P, 2]`."""
        return np.stack([self.members, self.source_of_members], axis=1)

    def place(self, member: int) -> str:
        """`file:line` of a translation."""
        row = self.rows[member]
        return f"{row.path}:{row.line}"

    def fingerprint(self) -> str:
        """A hash of all pairs, in their order: the same data, wherever its files lie."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(f"{row.source}\t{row.target}\t{row.language}\n".encode(errors="surrogatepass"))
        return digest.hexdigest()


def make_corpus(rows: Sequence[Row]) -> Corpus:
    """Group rows, which may be in any order, by source sentence."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.source, []).append(row)
    numbers = {source: at for at, source in enumerate(groups)}
    ordered = [row for group in groups.values() for row in group]
    members = [numbers.setdefault(row.target, len(numbers)) for row in ordered]
    offsets = np.cumsum([0, *(len(group) for group in groups.values())])
    return Corpus(list(numbers), len(groups), np.array(members, dtype=np.int64), offsets.astype(np.int64), ordered)
