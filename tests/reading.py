"""What the tests of the readers share."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mlembed.data.readers import ReadOptions, read
from mlembed.data.records import BadRecord, Record


def read_all(path: Path, options: ReadOptions | None = None) -> tuple[list[Record], list[BadRecord]]:
    """Part what a reader yields."""
    found = list(read(path, options or ReadOptions()))
    return [r for r in found if isinstance(r, Record)], [r for r in found if isinstance(r, BadRecord)]


def counting(**given: object) -> tuple[ReadOptions, Counter[str]]:
    """Make options that count what readers skip."""
    skipped: Counter[str] = Counter()
    return ReadOptions(on_skip=lambda reason, n: skipped.update({reason: n}), **given), skipped
