"""A validation or test set with labels, and how answers to it are measured, language by language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlembed.alarms.alarm import Signs
from mlembed.alarms.answers import measure_classes, measure_scores
from mlembed.data.examples import Example, ExampleSet
from mlembed.inputs import Inputs
from mlembed.models.text_model import TextModel
from mlembed.report.baselines import majority, tfidf
from mlembed.report.bootstrap import RESAMPLES
from mlembed.report.consistency import consistency
from mlembed.tasks.answering import Answering, Scores, check_answers

# What a model reads to logits.
Answer = Callable[[Inputs], np.ndarray]
# A baseline learnt from fewer rows of a language says nothing.
LEAST_ROWS = 20


@dataclass(frozen=True)
class LabelledSet:
    """Rows that training never sees.

    Args:
        rows: their examples, with a name.
        answering: what is answered.
        source_language: other languages are compared with it.
        seed: of the bootstrap.
    """

    rows: ExampleSet
    answering: Answering
    source_language: str
    seed: int

    def probabilities(self, model: TextModel, answer: Answer) -> np.ndarray:
        """A model's probabilities, of all rows or of all their words.

        Args:
            model: whose tokenizer cuts the rows.
            answer: its logits of what it reads.

        Raises:
            TrainingFailed: an answer is not finite.
        """
        inputs = self.answering.inputs(model, self.rows.examples)
        logits_AL = answer(inputs)
        check_answers(logits_AL, inputs=inputs, examples=self.rows.examples)
        return self.answering.probabilities(logits_AL)

    def signs(self, probabilities_AL: np.ndarray, *, languages: Sequence[str]) -> Signs:
        """What the answers of a model show of its health, in some languages; see `alarms.answers`.

        Args:
            probabilities_AL: of all rows, or of all their words.
            languages: those that are looked at.
        """
        own = [one for one in self._by_language(probabilities_AL) if one[0] in languages]
        if not own:
            return {}
        gold = [self.answering.answers(examples) for _, examples, _ in own]
        found = [own_AL for _, _, own_AL in own]
        measure = _measure_scores if self.answering.head.problem == "score" else measure_classes
        return {
            "all": measure(np.concatenate(gold), np.concatenate(found)),
            "languages": {language: measure(*both) for (language, _, _), *both in zip(own, gold, found, strict=True)},
        }

    def measure(self, probabilities_AL: np.ndarray, *, resamples: int = RESAMPLES) -> Scores:
        """Measure answers.

        Args:
            probabilities_AL: of all rows, or of all their words, in their order; rows that are not a number
                are left out with their language.
            resamples: of the bootstrap; 0: no intervals.

        Returns:
            Language -> metric -> estimate.
        """
        scores: Scores = {}
        choices: dict[str, dict[str, Any]] = {}
        for language, examples, own_AL in self._by_language(probabilities_AL):
            scores[language] = self.answering.score(examples, own_AL, seed=self.seed, resamples=resamples)
            chosen = self.answering.choices(examples, own_AL)
            choices[language] = {
                one.id: choice
                for one, choice in zip(examples, chosen, strict=True)
                if one.id is not None and not isinstance(choice, float)
            }
        agreed = consistency(choices, source_language=self.source_language, seed=self.seed, resamples=resamples)
        for language, estimate in agreed.items():
            scores[language]["consistency"] = estimate
        return scores

    def details(self, probabilities_AL: np.ndarray) -> Mapping[str, Any]:
        """What the report says of each label and language, as JSON values."""
        by_language = {
            language: self.answering.details(examples, own_AL)
            for language, examples, own_AL in self._by_language(probabilities_AL)
        }
        return {
            "names": list(self.answering.head.labels),
            "by_language": {language: details for language, details in by_language.items() if details},
        }

    def _by_language(self, probabilities_AL: np.ndarray) -> list[tuple[str, list[Example], np.ndarray]]:
        examples = self.rows.examples
        per_word = self.answering.head.of == "words"
        units = np.array([len(one.text) if per_word else 1 for one in examples], dtype=np.int64)
        ends = np.cumsum(units)
        found = []
        for language, rows in self.rows.by_language().items():
            wanted = np.concatenate([np.arange(ends[row] - units[row], ends[row]) for row in rows])
            own_AL = probabilities_AL[wanted]
            if not np.isnan(own_AL).any():
                found.append((language, [examples[row] for row in rows], own_AL))
        return found

    def majority(self, train: Sequence[Example]) -> np.ndarray:
        """The most frequent label of the training rows, for every row."""
        answers = self.answering.answers(train)
        return majority(answers, labels=len(self.answering.head.labels), rows=len(self.rows.examples))

    def tfidf(self, reference: Sequence[Example]) -> np.ndarray | None:
        """Answers of a baseline that learns from the labels of each language itself; None where no language has any.

        Args:
            reference: labelled rows in any language; those of languages with fewer than 20 are not used.
        """
        labels = len(self.answering.head.labels)
        probabilities_NL = np.full((len(self.rows.examples), labels), np.nan)
        for language, rows in self.rows.by_language().items():
            own = [one for one in reference if one.language == language]
            if len(own) >= LEAST_ROWS:
                texts = [_text(self.rows.examples[row]) for row in rows]
                answers = self.answering.answers(own)
                probabilities_NL[rows] = tfidf([_text(one) for one in own], answers, texts, labels=labels)
        return None if np.isnan(probabilities_NL).all() else probabilities_NL


def _measure_scores(gold_N: np.ndarray, scores_N1: np.ndarray) -> dict[str, float]:
    return measure_scores(gold_N, scores_N1[:, 0])


def _text(example: Example) -> str:
    assert isinstance(example.text, str)
    return example.text if example.second is None else f"{example.text}\n{example.second}"
