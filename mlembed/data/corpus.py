"""Groups of one source sentence with all its translations, on disk: what a run is trained on."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mlembed.data.disk_texts import BATCH_TEXTS, DiskTexts
from mlembed.data.records import Row
from mlembed.data.verified_folder import ABOUT

SOURCES, TRANSLATIONS = "sources.arrow", "translations.arrow"
# Columns of the translations, as plain arrays; and the offsets of the groups.
COLUMNS = {
    "members": np.int64,
    "source_of_members": np.int64,
    "offsets": np.int64,
    "language": np.int16,
    "file": np.int32,
    "line": np.int64,
    "by_language": np.int64,
}


class Corpus:
    """The groups of a training set, read from a folder that `CorpusWriter` wrote; no array is held in memory.

    The texts begin with the S distinct sources, so a source's number is its text's number too.

    Args:
        folder: the folder.
        owner: what keeps the folder alive, where it is a temporary one.
    """

    def __init__(self, folder: Path, *, owner: TemporaryDirectory[str] | None = None) -> None:
        self.folder = folder
        self._owner = owner
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))["about"]
        self.source_count: int = about["sources"]
        self.languages: list[str] = about["languages"]
        # Translations of each language.
        self.counts_L = np.array(about["language_counts"], dtype=np.int64)
        self._fingerprint: str = about["fingerprint"]
        self._files: list[str] = about["paths"]

    def __reduce__(self) -> tuple[type[Corpus], tuple[Path]]:
        # Another process opens the same files.
        return Corpus, (self.folder,)

    def _column(self, name: str) -> np.ndarray:
        # A plain array over the mapped file: a memmap costs time at each look.
        column: np.ndarray = np.memmap(self.folder / f"{name}.bin", dtype=COLUMNS[name], mode="r").view(np.ndarray)
        return column

    @functools.cached_property
    def texts(self) -> DiskTexts:
        """Texts, the distinct sources first. A translation stands here twice only where the corpus is large."""
        return DiskTexts([self.folder / SOURCES, self.folder / TRANSLATIONS])

    @functools.cached_property
    def sources(self) -> DiskTexts:
        """The distinct source sentences."""
        return DiskTexts([self.folder / SOURCES])

    @functools.cached_property
    def members(self) -> np.ndarray:
        """Numbers of the texts of all translations, group after group."""
        return self._column("members")

    @functools.cached_property
    def offsets(self) -> np.ndarray:
        """Group g has the translations `members[offsets[g]:offsets[g + 1]]`; S + 1 entries."""
        return self._column("offsets")

    @functools.cached_property
    def source_of_members(self) -> np.ndarray:
        """For each translation the number of its source."""
        return self._column("source_of_members")

    @functools.cached_property
    def language_of_members(self) -> np.ndarray:
        """For each translation the number of its language in `languages`."""
        return self._column("language")

    @functools.cached_property
    def by_language(self) -> np.ndarray:
        """The numbers of all members, those of the first language first, in their order."""
        return self._column("by_language")

    def pairs(self) -> np.ndarray:
        """Numbers of all translations and of their sources, `[P, 2]`, in memory: for a corpus that is not large."""
        return np.stack([self.members, self.source_of_members], axis=1)

    def place(self, member: int) -> str:
        """`file:line` of a translation."""
        return f"{self._files[int(self._column('file')[member])]}:{int(self._column('line')[member])}"

    def rows(self) -> Iterator[Row]:
        """The rows again, group after group."""
        file, line = self._column("file"), self._column("line")
        for start in range(0, len(self.members), BATCH_TEXTS):
            part = slice(start, start + BATCH_TEXTS)
            sources, targets = self.texts[self.source_of_members[part]], self.texts[self.members[part]]
            numbers = (column[part].tolist() for column in (self.language_of_members, file, line))
            for source, target, language, path, at in zip(sources, targets, *numbers, strict=True):
                yield Row(source, target, self.languages[language], self._files[path], at)

    def fingerprint(self) -> str:
        """A hash of all pairs, in their order: the same data, wherever its files lie."""
        return self._fingerprint

    def counts(self) -> dict[str, Any]:
        """Number of sources, of rows, and of rows of each language, as JSON values."""
        languages = dict(sorted(zip(self.languages, self.counts_L.tolist(), strict=True)))
        return {
            "sources": self.source_count,
            "rows": len(self.members),
            "languages": {language: count for language, count in languages.items() if count},
        }
