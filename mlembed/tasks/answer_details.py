"""What the page of a report shows of answers: languages compared, a map of rows, the worst answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from mlembed.data.examples import Example
from mlembed.data.tags import spans
from mlembed.report.details import Details, short
from mlembed.report.hard_rows import HardRow, hard_answers
from mlembed.report.sentence_map import choose_sentences, places, principal_axes
from mlembed.report.similarity import answer_similarity, shared_meanings
from mlembed.tasks.held_out_labels import LabelledSet

# Probabilities of fewer labels do not need two axes.
_LEAST_LABELS = 3


class AnswerDetails:
    """What is shown of all systems that answer a test set; rows of the same id say the same.

    Args:
        held_out: the test set.
    """

    def __init__(self, held_out: LabelledSet) -> None:
        self.held_out, self.source_language = held_out, held_out.source_language
        rows = held_out.rows
        source_first = sorted(rows.languages, key=lambda language: language != self.source_language)
        # Language -> id -> place of the row, the source language first.
        self.places: dict[str, dict[Hashable, int]] = {language: {} for language in source_first}
        languages: dict[Hashable, set[str]] = defaultdict(set)
        for place, one in enumerate(rows.examples):
            if one.id is not None and one.id not in self.places[one.language]:
                self.places[one.language][one.id] = place
                languages[one.id].add(one.language)
        self.meanings = shared_meanings(self.places)
        head = held_out.answering.head
        has_map = head.of == "text" and head.problem != "score" and len(head.labels) >= _LEAST_LABELS
        shared = {key: found for key, found in languages.items() if len(found) > 1} if has_map else {}
        self.sentences = [
            (number, language, self.places[language][key])
            for number, key in enumerate(choose_sentences(shared))
            for language in self.meanings
            if key in self.places[language]
        ]

    def start(self) -> Details:
        """What all systems share."""
        examples = self.held_out.rows.examples
        sentences = tuple(
            {"sentence": number, "language": language, "text": short(" / ".join(examples[place].texts))}
            for number, language, place in self.sentences
        )
        return Details(self.source_language, sentences)

    def of_system(self, probabilities_AL: np.ndarray) -> dict[str, Any]:
        """What is shown of one system, as JSON values; see `Details.systems`.

        Args:
            probabilities_AL: of all rows, or of all their words, in their order; none of them nan.
        """
        examples, answering = self.held_out.rows.examples, self.held_out.answering
        answers = answering.choices(examples, probabilities_AL)
        compared = {
            language: {
                one: _comparable(examples[self.places[language][one]], answers[self.places[language][one]])
                for one in meanings
            }
            for language, meanings in self.meanings.items()
        }
        shown: dict[str, Any] = {"similarity": answer_similarity(compared)}
        if self.sentences:
            # Roots of probabilities: their distance is Hellinger's, which sees a difference between 0.01 and 0.1.
            points_NL = np.sqrt(probabilities_AL[[place for _, _, place in self.sentences]])
            shown["map"] = places(points_NL, principal_axes(self._gold()))
        return shown

    def _gold(self) -> np.ndarray:
        """The labels of people for the sentences of the map, from which all systems have their axes."""
        examples, answering = self.held_out.rows.examples, self.held_out.answering
        gold = answering.answers([examples[place] for _, _, place in self.sentences])
        return gold.astype(np.float64) if gold.ndim == 2 else np.eye(len(answering.head.labels))[gold]

    def hard_rows(self, probabilities_AL: np.ndarray) -> tuple[HardRow, ...]:
        """The worst answers, language by language.

        Args:
            probabilities_AL: as in `of_system`.
        """
        examples = self.held_out.rows.examples
        answers = self.held_out.answering.choices(examples, probabilities_AL)
        badness_N = self._badness(answers, probabilities_AL)
        found: list[HardRow] = []
        for language, rows in self.held_out.rows.by_language().items():
            found += hard_answers(
                language,
                texts=[" / ".join(examples[row].texts) for row in rows],
                expected=[_words(examples[row], examples[row].answer) for row in rows],
                answers=[_words(examples[row], answers[row]) for row in rows],
                badness_N=badness_N[rows],
            )
        return tuple(found)

    def _badness(self, answers: Sequence[Any], probabilities_AL: np.ndarray) -> np.ndarray:
        """How bad answers are: names that differ, distance of scores, or how sure of itself a wrong answer is."""
        examples, answering = self.held_out.rows.examples, self.held_out.answering
        pairs = list(zip(examples, answers, strict=True))
        if answering.head.of == "words":
            return np.array([len(set(spans(one.labels)) ^ set(spans(answer))) for one, answer in pairs])
        if answering.head.problem == "score":
            return np.array([abs(float(answer) - float(str(one.answer))) for one, answer in pairs])
        wrong_N = np.array(
            [set(one.labels) != set([answer] if isinstance(answer, str) else answer) for one, answer in pairs]
        )
        gold = answering.answers(examples)
        if gold.ndim == 1:
            return np.asarray(wrong_N * probabilities_AL.max(axis=1))
        return np.asarray(wrong_N * np.abs(gold - probabilities_AL).max(axis=1))


def _comparable(example: Example, answer: Any) -> Any:
    """An answer as it can be equal to that of a translation, whose words are others: of tags, the kinds of names."""
    return answer if isinstance(example.text, str) else tuple(sorted(kind for kind, _, _ in spans(answer)))


def _words(example: Example, answer: Any) -> str:
    """An answer as a person reads it."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, float):
        return f"{answer:.2f}"
    if isinstance(example.text, str):
        return ", ".join(sorted(answer)) or "no label"
    names = [f"{' '.join(example.text[first : last + 1])} ({kind})" for kind, first, last in spans(answer)]
    return ", ".join(names) or "no names"
