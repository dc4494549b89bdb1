"""What the page of a report shows of vectors: languages compared, a map of sentences, the hardest rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from typing import Any

import numpy as np

from mlembed.report.details import Details, short
from mlembed.report.hard_rows import HardRow, hard_translations
from mlembed.report.sentence_map import choose_sentences, places, principal_axes
from mlembed.report.similarity import language_similarity, shared_meanings
from mlembed.tasks.held_out import Encode, HeldOut

# Vectors that the axes of the map are found from.
_MOST_VECTORS = 2000


class VectorDetails:
    """What is shown of all systems that are measured on a test set.

    Args:
        held_out: the test set.
        source_language: of its sources.
    """

    def __init__(self, held_out: HeldOut, *, source_language: str) -> None:
        self.held_out, self.source_language = held_out, source_language
        # Language -> source -> text, the source language first.
        self.texts: dict[str, dict[Hashable, str]] = {source_language: {text: text for text in held_out.sources}}
        languages: dict[Hashable, set[str]] = defaultdict(set)
        for row in held_out.rows:
            self.texts.setdefault(row.language, {}).setdefault(row.source, row.target)
            languages[row.source].add(row.language)
        self.meanings = shared_meanings(self.texts)
        self.sentences = [
            {"sentence": number, "language": language, "text": self.texts[language][source]}
            for number, source in enumerate(choose_sentences(languages))
            for language in self.meanings
            if source in self.texts[language]
        ]

    def start(self) -> Details:
        """What all systems share."""
        shown = tuple({**one, "text": short(str(one["text"]))} for one in self.sentences)
        return Details(self.source_language, shown)

    def of_system(self, look_up: Encode) -> dict[str, Any]:
        """What is shown of one system, as JSON values; see `Details.systems`.

        Args:
            look_up: texts of the test set to vectors.
        """
        if not self.sentences:
            return {}
        vectors = {
            language: dict(zip(meanings, look_up([self.texts[language][one] for one in meanings]), strict=True))
            for language, meanings in self.meanings.items()
            if meanings
        }
        points_ND = look_up([str(one["text"]) for one in self.sentences])
        shown: dict[str, Any] = {"similarity": language_similarity(vectors)}
        if (width := points_ND.shape[1]) > 1:
            shown["map"] = places(points_ND, principal_axes(self._axes_from(width, look_up)))
        return shown

    def _axes_from(self, width: int, look_up: Encode) -> np.ndarray:
        """The teacher's vectors of the sources, so that systems share their axes; their own where it has none."""
        sources = self.held_out.sources[:_MOST_VECTORS]
        known = self.held_out.teacher_vectors
        if known and len(known[sources[0]]) == width:
            return np.stack([known[source] for source in sources])
        return look_up(sources)

    def hard_rows(self, look_up: Encode) -> tuple[HardRow, ...]:
        """The translations that are hardest to match with their sources, language by language.

        Args:
            look_up: texts of the test set to vectors.
        """
        found: list[HardRow] = []
        for language in self.held_out.languages:
            rows = [row for row in self.held_out.rows if row.language == language]
            if len(rows) > 1:
                sources, targets = [row.source for row in rows], [row.target for row in rows]
                source_ND, target_ND = look_up(sources), look_up(targets)
                found += hard_translations(
                    language, source_ND=source_ND, target_ND=target_ND, sources=sources, targets=targets
                )
        return tuple(found)
