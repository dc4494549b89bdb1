"""A validation or test set of sentence embeddings, and how a model is measured on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mlembed.alarms.alarm import Signs
from mlembed.alarms.vectors import vector_signs
from mlembed.data.records import Row
from mlembed.data.scored import ScoredPair, ScoredSet
from mlembed.report.bootstrap import RESAMPLES, Estimate
from mlembed.report.scores import score_parallel, score_sts

Encode = Callable[[Sequence[str]], np.ndarray]
Scores = dict[str, dict[str, Estimate]]


@dataclass
class HeldOut:
    """Sentences that training never sees.

    Args:
        name: what reports call it.
        rows: sentences and their translations.
        scored: pairs with scores of similarity, or None.
        teacher_vectors: text -> the teacher's vector, filled by `remember_teacher`.
    """

    name: str
    rows: Sequence[Row] = ()
    scored: ScoredSet | None = None
    teacher_vectors: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def sources(self) -> list[str]:
        """The distinct source sentences."""
        return list(dict.fromkeys(row.source for row in self.rows))

    @property
    def languages(self) -> list[str]:
        """Languages that are measured, sorted."""
        scored = self.scored.pairs if self.scored else {}
        return sorted({row.language for row in self.rows} | set(scored))

    def remember_teacher(self, encode: Encode) -> None:
        """Keep the teacher's vectors of the sources, which students are compared with."""
        sources = self.sources
        self.teacher_vectors = dict(zip(sources, encode(sources), strict=True))

    def measure(self, encode: Encode, *, seed: int, resamples: int = RESAMPLES) -> Scores:
        """Measure a model.

        Args:
            encode: texts to vectors.
            seed: of the bootstrap.
            resamples: of the bootstrap; 0: no intervals.

        Returns:
            Language -> metric -> estimate.
        """
        return self.score(self.read(encode), seed=seed, resamples=resamples)

    def read(self, encode: Encode) -> Encode:
        """Encode each text of the set once.

        Args:
            encode: texts to vectors.

        Returns:
            What finds the vectors of any of these texts.
        """
        texts = dict.fromkeys(text for row in self.rows for text in (row.source, row.target))
        for pair in self._scored_pairs():
            texts.setdefault(pair.first)
            texts.setdefault(pair.second)
        vectors_ND = encode(list(texts))
        numbers = {text: at for at, text in enumerate(texts)}

        def look_up(wanted: Sequence[str]) -> np.ndarray:
            return vectors_ND[[numbers[text] for text in wanted]]

        return look_up

    def score(self, look_up: Encode, *, seed: int, resamples: int = RESAMPLES) -> Scores:
        """Measure vectors; see `measure`.

        Args:
            look_up: what `read` returned.
            seed: of the bootstrap.
            resamples: of the bootstrap; 0: no intervals.
        """
        scores: Scores = {}
        for language in self.languages:
            scores[language] = self._parallel(language, look_up, seed=seed, resamples=resamples)
            scores[language] |= self._similarity(language, look_up, seed=seed, resamples=resamples)
        return scores

    def signs(self, vectors: Mapping[str, np.ndarray]) -> Signs:
        """What the vectors of a model show of its health; see `alarms.vectors`.

        Args:
            vectors: text -> vector, of all texts that `measure` asks for.
        """
        student: dict[str, np.ndarray] = {}
        teacher: dict[str, np.ndarray] = {}
        for language in self.languages:
            # Of texts that are the same, the last one's source.
            sources = {row.target: row.source for row in self.rows if row.language == language}
            texts = list(sources)
            if sources and self.teacher_vectors:
                teacher[language] = np.stack([self.teacher_vectors[source] for source in sources.values()])
            elif not sources and self.scored is not None:
                pairs = self.scored.pairs.get(language, [])
                texts = list(dict.fromkeys(text for pair in pairs for text in (pair.first, pair.second)))
            if texts:
                student[language] = np.stack([vectors[text] for text in texts])
        return vector_signs(student, teacher)

    def _parallel(self, language: str, look_up: Encode, *, seed: int, resamples: int) -> dict[str, Estimate]:
        rows = [row for row in self.rows if row.language == language]
        if not rows:
            return {}
        sources, targets = [row.source for row in rows], [row.target for row in rows]
        teacher_ND = np.stack([self.teacher_vectors[text] for text in sources]) if self.teacher_vectors else None
        target_ND = look_up(targets)
        if teacher_ND is not None and teacher_ND.shape[1] != target_ND.shape[1]:
            # A student that was never fitted to this teacher: its vectors cannot be compared, its retrieval can.
            teacher_ND = None
        return score_parallel(
            source_ND=look_up(sources),
            target_ND=target_ND,
            teacher_ND=teacher_ND,
            source_texts=sources,
            target_texts=targets,
            seed=seed,
            resamples=resamples,
        )

    def _similarity(self, language: str, look_up: Encode, *, seed: int, resamples: int) -> dict[str, Estimate]:
        if self.scored is None or language not in self.scored.pairs:
            return {}
        kinds = {"sts": list(self.scored.pairs[language]), "sts_cross": self.scored.crossed(language)}
        return {
            metric: score_sts(
                look_up([pair.first for pair in pairs]),
                look_up([pair.second for pair in pairs]),
                np.array([pair.score for pair in pairs]),
                seed=seed,
                resamples=resamples,
            )
            for metric, pairs in kinds.items()
            if pairs
        }

    def _scored_pairs(self) -> list[ScoredPair]:
        return [] if self.scored is None else [pair for pairs in self.scored.pairs.values() for pair in pairs]
