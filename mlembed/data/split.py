"""Holds out sentences for validation and test, so that training never sees them in any language."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence

from mlembed.data.records import Row
from mlembed.errors import ConfigError


class _Separators(dict[int, int | str]):
    """A table for str.translate: punctuation, white space and control characters become a space."""

    def __missing__(self, code: int) -> int | str:
        self[code] = " " if unicodedata.category(chr(code))[0] in "PZC" else code
        return self[code]


_SEPARATORS = _Separators()


def normalized_source(text: str) -> str:
    """Return what two sentences share that a reader would call the same: NFKC, case, punctuation and spacing aside."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().translate(_SEPARATORS).split())


def split_by_source(
    rows: Sequence[Row], *, validation: int, test: int, seed: int
) -> tuple[list[Row], list[Row], list[Row]]:
    """Hold out all rows of some sources.

    Sources are ordered by a hash keyed with the seed (BLAKE2b) of their normalized text: the first go to the test
    set, the next to validation. So the choice does not depend on the order of the rows, sources that differ in case,
    punctuation or spacing only fall on the same side, and another size of the validation set leaves the test set as
    it is. Sources are not chosen by how many languages they are translated into: a language with few translations
    has few held-out rows.

    Args:
        rows: in any order.
        validation: distinct normalized sources for validation; 0 for none.
        test: distinct normalized sources for the test; 0 for none.
        seed: another seed holds out other sources.

    Returns:
        (train, validation, test), each in the order of `rows`.

    Raises:
        ConfigError: a count is negative, or no source is left for training.
    """
    asked = f"{validation} sources for validation and {test} for the test"
    if validation < 0 or test < 0:
        raise ConfigError(f"cannot hold out {asked}: a count is negative")
    sources = _normalized_by_source(rows)
    distinct = set(sources.values())
    if validation + test >= len(distinct):
        raise ConfigError(
            f"cannot hold out {asked}: there are {len(distinct)} different sources"
            " in all, and training needs some of them; hold out fewer, or give more data"
        )
    key = hashlib.blake2b(str(seed).encode()).digest()
    order = sorted(distinct, key=lambda text: (hashlib.blake2b(text.encode(), key=key, digest_size=16).digest(), text))
    side = dict.fromkeys(order[:test], 2) | dict.fromkeys(order[test : test + validation], 1)
    parts: tuple[list[Row], list[Row], list[Row]] = ([], [], [])
    for row in rows:
        parts[side.get(sources[row.source], 0)].append(row)
    return parts


def cap_sources(rows: Sequence[Row], count: int) -> list[Row]:
    """The rows of this many sources, spread evenly over all; all rows where there are not more."""
    sources = list(dict.fromkeys(row.source for row in rows))
    if len(sources) <= count:
        return list(rows)
    kept = {sources[at * len(sources) // count] for at in range(count)}
    return [row for row in rows if row.source in kept]


def drop_leaks(train: Sequence[Row], held_out: Iterable[Row]) -> tuple[list[Row], int]:
    """Drop the training rows whose source, normalized, is also held out.

    Args:
        train: rows for training.
        held_out: rows of validation and test sets, from wherever they come.

    Returns:
        (the other rows in their order, the number of rows dropped).
    """
    forbidden = set(_normalized_by_source(held_out).values())
    sources = _normalized_by_source(train)
    kept = [row for row in train if sources[row.source] not in forbidden]
    return kept, len(train) - len(kept)


def _normalized_by_source(rows: Iterable[Row]) -> dict[str, str]:
    """Normalize each distinct source once."""
    return {source: normalized_source(source) for source in {row.source for row in rows}}
