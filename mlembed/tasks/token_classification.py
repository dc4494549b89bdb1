"""Token classification: a tag for each word; a word is read at its first token."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlembed.data.examples import Example, LabelSet
from mlembed.data.tags import OUTSIDE
from mlembed.inputs import Inputs, word_inputs
from mlembed.losses.labels import one_label
from mlembed.models.classifier import Head
from mlembed.models.text_model import TextModel
from mlembed.report.bootstrap import RESAMPLES, Estimate
from mlembed.report.label_details import tag_details
from mlembed.report.tags import score_tags
from mlembed.tasks.answering import Poll


class TokenClassification:
    """Words with tags.

    Args:
        labels: the tags; O is number 0.
        smoothing: of tags.
    """

    def __init__(self, labels: LabelSet, *, smoothing: float) -> None:
        assert labels.names[0] == OUTSIDE
        self.labels, self.smoothing = labels, smoothing
        self.head = Head("words", labels.names)

    def inputs(self, model: TextModel, examples: Sequence[Example], *, poll: Poll = lambda: None) -> Inputs:
        """See `Answering`."""
        texts = [one.text for one in examples]
        return word_inputs(texts, tokenizer=model.tokenizer, max_length=model.max_length, poll=poll)

    def answers(self, examples: Sequence[Example]) -> np.ndarray:
        """Numbers of the tags of all words of all rows."""
        return np.array([self.labels.number(tag) for one in examples for tag in one.labels], dtype=np.int64)

    def loss(self, logits_ML: Tensor, answers_M: Tensor) -> Tensor:
        """See `Answering`."""
        return one_label(logits_ML, answers_M, smoothing=self.smoothing)

    def draws(self, examples: Sequence[Example]) -> np.ndarray | None:
        """Each row is drawn once."""
        return None

    def probabilities(self, logits_AL: np.ndarray) -> np.ndarray:
        """See `Answering`; a word that was not read is outside of all names."""
        probabilities_AL = torch.from_numpy(logits_AL).softmax(dim=1).numpy()
        unread = np.isnan(logits_AL).any(axis=1)
        probabilities_AL[unread] = 0
        probabilities_AL[unread, 0] = 1
        return probabilities_AL

    def score(
        self, examples: Sequence[Example], probabilities_AL: np.ndarray, *, seed: int, resamples: int = RESAMPLES
    ) -> dict[str, Estimate]:
        """See `Answering`."""
        gold = [one.labels for one in examples]
        return score_tags(gold, self.choices(examples, probabilities_AL), seed=seed, resamples=resamples)

    def details(self, examples: Sequence[Example], probabilities_AL: np.ndarray) -> Mapping[str, Any]:
        """See `Answering`."""
        return tag_details([one.labels for one in examples], self.choices(examples, probabilities_AL))

    def choices(self, examples: Sequence[Example], probabilities_AL: np.ndarray) -> list[Any]:
        """The tags of each row's words."""
        names = self.labels.names
        tags = [names[number] for number in probabilities_AL.argmax(axis=1)]
        ends = np.cumsum([0, *(len(one.text) for one in examples)])
        return [tuple(tags[start:end]) for start, end in itertools.pairwise(ends)]
