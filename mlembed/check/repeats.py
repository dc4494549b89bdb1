"""Rows that are there twice, and rows that are held out too: exactly, and but for case, punctuation and spaces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from mlembed.check.findings import Mark
from mlembed.check.parallel_rows import SpooledRows
from mlembed.data.records import Row
from mlembed.data.split import normalized_source


def sameness(text: str) -> str:
    """What two texts share that a reader would call the same; a text of punctuation alone is itself."""
    return normalized_source(text) or text


@dataclass
class HeldOutTexts:
    """What training must not see.

    Args:
        sources: of held-out sets that are given: normalized -> the sources as they are.
        split_off: normalized sources that are split off from the training rows themselves.
        targets: (language, normalized translation) of all of them.
    """

    sources: dict[str, set[str]]
    split_off: set[str]
    targets: set[tuple[str, str]]

    @classmethod
    def of(cls, given: Iterable[Row], split_off: Iterable[Row]) -> HeldOutTexts:
        """From the rows of held-out sets; a row without a translation has a source alone."""
        found = cls({}, set(), set())
        for row in given:
            found.sources.setdefault(sameness(row.source), set()).add(row.source)
            found.targets.add((row.language, sameness(row.target)))
        for row in split_off:
            found.split_off.add(sameness(row.source))
            found.targets.add((row.language, sameness(row.target)))
        found.targets = {one for one in found.targets if one[1]}
        return found


def repeated_rows(rows: SpooledRows, held_out: HeldOutTexts) -> list[Mark]:
    """Marks of duplicates and leaks, of all rows; in memory are some 20 bytes a row."""
    exact_N = np.empty(len(rows), dtype=np.int64)
    normal_N = np.empty(len(rows), dtype=np.int64)
    leaks: dict[str, list[int]] = {"leak": [], "leak_normalised": [], "leak_target": []}
    start = 0
    for sources, targets in rows.texts():
        # A source has many translations, which often follow one another.
        normal_of: dict[str, str] = {}
        for at, (source, target) in enumerate(zip(sources, targets, strict=True), start):
            language = rows.languages[rows.language_N[at]]
            if (normal := normal_of.get(source)) is None:
                normal = normal_of[source] = sameness(source)
            normal_target = sameness(target)
            exact_N[at] = _digest(language, source, target)
            normal_N[at] = _digest(language, normal, normal_target)
            if (kind := _leak(held_out, source, normal, language, normal_target)) is not None:
                leaks[kind].append(at)
        start += len(sources)
    return [*duplicates(rows, exact_N, normal_N), *_leak_marks(rows, leaks)]


def _digest(*parts: str) -> int:
    digest = hashlib.blake2b("\n".join(parts).encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _leak(held_out: HeldOutTexts, source: str, normal: str, language: str, target: str) -> str | None:
    if (exact := held_out.sources.get(normal)) is not None:
        return "leak" if source in exact else "leak_normalised"
    if normal not in held_out.split_off and (language, target) in held_out.targets:
        return "leak_target"
    return None


def _leak_marks(rows: SpooledRows, leaks: dict[str, list[int]]) -> list[Mark]:
    why = {
        "leak": "the source is in a held-out set",
        "leak_normalised": "the source is in a held-out set, in other spelling",
        "leak_target": "the translation is in a held-out set, of another source",
    }
    return [
        Mark(kind, np.array(found), np.ones(len(found)), lambda at, text=why[kind]: text, len(rows))  # type: ignore[misc]
        for kind, found in leaks.items()
        if found
    ]


def duplicates(rows: SpooledRows, exact_N: np.ndarray, normal_N: np.ndarray) -> list[Mark]:
    """Marks of rows that stand there before already.

    Args:
        rows: the rows.
        exact_N: equal for equal rows.
        normal_N: equal for rows that are the same but for case, punctuation and spaces.
    """
    marks = []
    _, first_K, which_N = np.unique(exact_N, return_index=True, return_inverse=True)
    is_exact_N = first_K[which_N] != np.arange(len(exact_N))
    for kind, keys_N, skipped_N in (
        ("duplicate", exact_N, np.zeros(len(exact_N), dtype=bool)),
        ("duplicate_normalised", normal_N, is_exact_N),
    ):
        _, first_K, which_N = np.unique(keys_N, return_index=True, return_inverse=True)
        first_N = first_K[which_N]
        found = np.flatnonzero((first_N != np.arange(len(keys_N))) & ~skipped_N)
        if len(found):
            marks.append(Mark(kind, found, np.ones(len(found)), _as_before(rows, first_N[found]), len(rows)))
    return marks


def _as_before(rows: SpooledRows, first_M: np.ndarray) -> Callable[[int], str]:
    def why(at: int) -> str:
        (first,) = rows.shown([int(first_M[at])])
        return f"as {first.file}:{first.line}"

    return why
