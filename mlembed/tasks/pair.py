"""Pairs of texts: how similar they are, or which label they have together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlembed.data.examples import Example, LabelSet
from mlembed.inputs import Inputs, pair_inputs, twin_inputs
from mlembed.losses.labels import score
from mlembed.models.bi_encoder import COSINE
from mlembed.models.text_model import TextModel
from mlembed.report.bootstrap import RESAMPLES, Estimate
from mlembed.report.regression import score_similarity
from mlembed.tasks.answering import Poll
from mlembed.tasks.classification import Classification


class PairClassification(Classification):
    """Pairs with a label, such as entailment or paraphrase; see `Classification`."""

    def inputs(self, model: TextModel, examples: Sequence[Example], *, poll: Poll = lambda: None) -> Inputs:
        """See `Answering`."""
        return _pairs(model, examples, poll=poll)


class PairComparison(PairClassification):
    """Pairs with a label that is told by two vectors; see `PairClassification`."""

    def __init__(self, labels: LabelSet, **options: Any) -> None:
        super().__init__(labels, **options)
        self.head = dataclasses.replace(self.head, of="vectors")

    def inputs(self, model: TextModel, examples: Sequence[Example], *, poll: Poll = lambda: None) -> Inputs:
        """See `Answering`."""
        return _twins(model, examples, poll=poll)


class PairScore:
    """Pairs with a score of similarity, which the model answers between 0 and 1.

    Args:
        low: the lowest score of people.
        high: the highest.
    """

    def __init__(self, *, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.head = dataclasses.replace(COSINE, of="text")
        self.labels = LabelSet(self.head.labels)

    def inputs(self, model: TextModel, examples: Sequence[Example], *, poll: Poll = lambda: None) -> Inputs:
        """See `Answering`."""
        return _pairs(model, examples, poll=poll)

    def answers(self, examples: Sequence[Example]) -> np.ndarray:
        """Scores between 0 and 1, `[N]` float32."""
        scores_N = np.array([one.answer for one in examples], dtype=np.float32)
        return ((scores_N - self.low) / (self.high - self.low)).clip(0, 1)

    def loss(self, logits_ML: Tensor, answers_M: Tensor) -> Tensor:
        """See `Answering`."""
        return score(logits_ML, answers_M)

    def draws(self, examples: Sequence[Example]) -> np.ndarray | None:
        """Each row is drawn once."""
        return None

    def probabilities(self, logits_AL: np.ndarray) -> np.ndarray:
        """The scores, between 0 and 1."""
        return torch.from_numpy(logits_AL).sigmoid().numpy()

    def score(
        self, examples: Sequence[Example], probabilities_AL: np.ndarray, *, seed: int, resamples: int = RESAMPLES
    ) -> dict[str, Estimate]:
        """See `Answering`."""
        gold_N = np.array([one.answer for one in examples], dtype=np.float64)
        return score_similarity(probabilities_AL[:, 0], gold_N, seed=seed, resamples=resamples)

    def details(self, examples: Sequence[Example], probabilities_AL: np.ndarray) -> Mapping[str, Any]:
        """A score has no labels to tell apart."""
        return {}

    def choices(self, examples: Sequence[Example], probabilities_AL: np.ndarray) -> list[Any]:
        """The scores, on the scale of people."""
        return [float(value) for value in self.low + (self.high - self.low) * probabilities_AL[:, 0]]


class PairSimilarity(PairScore):
    """Pairs with a score of similarity, which is the cosine of two vectors; see `PairScore`."""

    def __init__(self, *, low: float, high: float) -> None:
        super().__init__(low=low, high=high)
        self.head = COSINE

    def inputs(self, model: TextModel, examples: Sequence[Example], *, poll: Poll = lambda: None) -> Inputs:
        """See `Answering`."""
        return _twins(model, examples, poll=poll)

    def loss(self, logits_ML: Tensor, answers_M: Tensor) -> Tensor:
        """Squared error of the cosine.

        Source: Reimers and Gurevych (2019), Sentence-BERT, https://arxiv.org/abs/1908.10084 (regression objective).
        """
        return (logits_ML[:, 0] - answers_M).square()

    def probabilities(self, logits_AL: np.ndarray) -> np.ndarray:
        """The cosines."""
        return logits_AL


def _pairs(model: TextModel, examples: Sequence[Example], *, poll: Poll) -> Inputs:
    firsts, seconds = [str(one.text) for one in examples], [str(one.second) for one in examples]
    return pair_inputs(firsts, seconds, tokenizer=model.tokenizer, max_length=model.max_length, poll=poll)


def _twins(model: TextModel, examples: Sequence[Example], *, poll: Poll) -> Inputs:
    firsts, seconds = [str(one.text) for one in examples], [str(one.second) for one in examples]
    return twin_inputs(firsts, seconds, tokenizer=model.tokenizer, max_length=model.max_length, poll=poll)
