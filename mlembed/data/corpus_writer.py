"""Writes a corpus to disk, group after group, in memory for the groups at hand alone."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlembed.data.corpus import COLUMNS, SOURCES, TRANSLATIONS
from mlembed.data.disk_texts import BATCH_TEXTS, TextWriter
from mlembed.data.verified_folder import ABOUT, write_about

FORMAT = 1


# Languages that are named where a corpus is shown to people.
MAX_SHOWN = 12


class CorpusWriter:
    """Writes the files of a `Corpus`.

    Args:
        folder: an empty folder.
        sources: S, how many groups there will be.
        languages: what the numbers of languages stand for.
        paths: what the numbers of files stand for.
    """

    def __init__(self, folder: Path, *, sources: int, languages: Sequence[str], paths: Sequence[str]) -> None:
        self.folder = folder
        self._expected, self._languages, self._paths = sources, list(languages), list(paths)
        self._sources = TextWriter(folder / SOURCES)
        self._translations = TextWriter(folder / TRANSLATIONS)
        self._columns: dict[str, BinaryIO] = {name: (folder / f"{name}.bin").open("wb") for name in COLUMNS}
        self._by_language: dict[int, BinaryIO] = {}
        self._counts_L = np.zeros(len(languages), dtype=np.int64)
        self._members = 0
        self._pairs, self._places = hashlib.sha256(), hashlib.sha256()
        self._put("offsets", np.zeros(1))

    def add(self, sources: pa.Array, group_N: np.ndarray, rows: pa.Table) -> None:
        """Append groups.

        Args:
            sources: texts of the next G sources.
            group_N: for each row the number of its source among these, ascending; each has a row.
            rows: the rows, with the columns of `spool.SCHEMA`, each in one piece.
        """
        language_N = rows["language"].to_numpy()
        first = self._sources.count
        targets = rows["target"].chunk(0)
        self._put("members", self._numbers(targets, sources))
        self._put("source_of_members", first + group_N)
        self._put("offsets", self._members + np.cumsum(np.bincount(group_N, minlength=len(sources))))
        for name in ("language", "file", "line"):
            self._put(name, rows[name].to_numpy())
        for language in np.unique(language_N).tolist():
            if language not in self._by_language:
                self._by_language[language] = self._language_path(language).open("wb")
            found = self._members + np.flatnonzero(language_N == language)
            self._by_language[language].write(found.astype(COLUMNS["by_language"]).tobytes())
        self._sources.add(sources)
        self._hash(sources.take(pa.array(group_N)), targets, language_N)
        self._places.update(rows["file"].to_numpy().tobytes() + rows["line"].to_numpy().tobytes())
        self._counts_L += np.bincount(language_N, minlength=len(self._counts_L))
        self._members += len(group_N)

    def _numbers(self, targets: pa.Array, sources: pa.Array) -> np.ndarray:
        """Numbers of the translations' texts; a text that is there among these groups is not written again."""
        encoded = targets.dictionary_encode()
        known = pc.index_in(encoded.dictionary, value_set=sources)
        is_new = known.is_null()
        number_K = known.fill_null(-1).to_numpy().astype(np.int64) + self._sources.count
        new = is_new.to_numpy(zero_copy_only=False)
        start = self._expected + self._translations.count
        number_K[new] = np.arange(start, start + int(new.sum()))
        self._translations.add(encoded.dictionary.filter(is_new))
        numbers_N: np.ndarray = number_K[encoded.indices.to_numpy()]
        return numbers_N

    def _hash(self, sources: pa.Array, targets: pa.Array, language_N: np.ndarray) -> None:
        names = pa.array([f"{language}\n" for language in self._languages], pa.large_string())
        for start in range(0, len(targets), BATCH_TEXTS):
            languages = names.take(pa.array(language_N[start : start + BATCH_TEXTS]))
            pairs = (sources.slice(start, BATCH_TEXTS), targets.slice(start, BATCH_TEXTS), languages)
            lines = pc.binary_join_element_wise(*pairs, pa.scalar("\t", pa.large_string()))
            offsets = np.frombuffer(lines.buffers()[1], dtype=np.int64, count=len(lines) + 1)
            self._pairs.update(memoryview(lines.buffers()[2])[offsets[0] : offsets[-1]])

    def _put(self, name: str, values: np.ndarray) -> None:
        self._columns[name].write(values.astype(COLUMNS[name]).tobytes())

    def _language_path(self, language: int) -> Path:
        return self.folder / f"by_language.{language}"

    def close(self) -> str:
        """Write what is left, and about.json.

        Returns:
            The name of the corpus: a hash of its rows, their places included.
        """
        assert self._sources.count == self._expected
        self._sources.close()
        self._translations.close()
        for language in sorted(self._by_language):
            self._by_language[language].close()
            with self._language_path(language).open("rb") as part:
                shutil.copyfileobj(part, self._columns["by_language"], 2**20)
            self._language_path(language).unlink()
        for file in self._columns.values():
            file.close()
        fingerprint = self._pairs.hexdigest()
        about: dict[str, Any] = {
            "format": FORMAT,
            "fingerprint": fingerprint,
            "sources": self._expected,
            "languages": self._languages,
            "language_counts": self._counts_L.tolist(),
            "paths": self._paths,
        }
        files = [self.folder / name for name in (SOURCES, TRANSLATIONS, *(f"{name}.bin" for name in COLUMNS))]
        rows = int(self._counts_L.sum())
        what = f"{rows:,} translations of {self._expected:,} sources: {' '.join(self._languages[:MAX_SHOWN])}"
        write_about(self.folder / ABOUT, files, about | {"texts": self._expected + rows}, what=what)
        known = f"{FORMAT} {fingerprint} {self._places.hexdigest()} {self._paths} {self._languages}"
        return hashlib.sha256(known.encode(errors="surrogatepass")).hexdigest()
