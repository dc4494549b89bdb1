"""Text classification: one label a text, or any number of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlembed.data.examples import Example, LabelSet
from mlembed.inputs import Inputs, text_inputs
from mlembed.losses.labels import many_labels, one_label
from mlembed.models.classifier import Head
from mlembed.models.text_model import TextModel
from mlembed.report.bootstrap import RESAMPLES, Estimate
from mlembed.report.label_details import label_details
from mlembed.report.labels import score_classes, score_multi_label
from mlembed.tasks.answering import Poll

# A label of several is given where it is more likely than not.
THRESHOLD = 0.5


class Classification:
    """Texts with labels.

    Args:
        labels: their names.
        several: whether a text has any number of them.
        train: the rows that are learnt from, which weights and draws are made of.
        balanced_weights: a rare label counts more in the loss.
        balanced_sampling: all labels are drawn equally often.
        smoothing: of labels.
    """

    def __init__(
        self,
        labels: LabelSet,
        *,
        several: bool,
        train: Sequence[Example],
        balanced_weights: bool,
        balanced_sampling: bool,
        smoothing: float,
    ) -> None:
        self.labels, self.several, self.smoothing = labels, several, smoothing
        self.balanced_sampling = balanced_sampling
        self.head = Head("text", labels.names, "many" if several else "one")
        self.class_weights_L = self._class_weights(train) if balanced_weights else None

    def inputs(self, model: TextModel, examples: Sequence[Example], *, poll: Poll = lambda: None) -> Inputs:
        """See `Answering`."""
        texts = [str(one.text) for one in examples]
        return text_inputs(texts, tokenizer=model.tokenizer, max_length=model.max_length, poll=poll)

    def answers(self, examples: Sequence[Example]) -> np.ndarray:
        """Numbers of the labels, `[N]`; of several a matrix of 0 and 1, `[N, L]`."""
        if not self.several:
            return np.array([self.labels.number(one.labels[0]) for one in examples], dtype=np.int64)
        matrix_NL = np.zeros((len(examples), len(self.labels.names)), dtype=np.int64)
        for row, one in enumerate(examples):
            matrix_NL[row, [self.labels.number(name) for name in one.labels]] = 1
        return matrix_NL

    def _counts(self, examples: Sequence[Example]) -> np.ndarray:
        answers = self.answers(examples)
        return answers.sum(axis=0) if self.several else np.bincount(answers, minlength=len(self.labels.names))

    def _class_weights(self, examples: Sequence[Example]) -> np.ndarray:
        """`rows / (labels * rows of the label)`, as scikit-learn's `balanced`."""
        counts_L = self._counts(examples)
        weights_L: np.ndarray = len(examples) / (len(counts_L) * np.maximum(counts_L, 1))
        return weights_L

    def loss(self, logits_ML: Tensor, answers_M: Tensor) -> Tensor:
        """See `Answering`."""
        weights_L = None
        if self.class_weights_L is not None:
            weights_L = torch.from_numpy(self.class_weights_L).to(logits_ML)
        distance = many_labels if self.several else one_label
        return distance(logits_ML, answers_M, class_weights_L=weights_L, smoothing=self.smoothing)

    def draws(self, examples: Sequence[Example]) -> np.ndarray | None:
        """See `Answering`; a row with several labels is drawn for its rarest one."""
        if not self.balanced_sampling:
            return None
        share_L = 1 / np.maximum(self._counts(examples), 1)
        answers = self.answers(examples)
        if not self.several:
            return np.asarray(share_L[answers])
        without = share_L.min()
        return np.asarray(np.where(answers > 0, share_L, without).max(axis=1))

    def probabilities(self, logits_AL: np.ndarray) -> np.ndarray:
        """See `Answering`."""
        logits = torch.from_numpy(logits_AL)
        return (logits.sigmoid() if self.several else logits.softmax(dim=1)).numpy()

    def score(
        self, examples: Sequence[Example], probabilities_AL: np.ndarray, *, seed: int, resamples: int = RESAMPLES
    ) -> dict[str, Estimate]:
        """See `Answering`."""
        gold = self.answers(examples)
        if self.several:
            return score_multi_label(gold, probabilities_AL, threshold=THRESHOLD, seed=seed, resamples=resamples)
        return score_classes(gold, probabilities_AL, seed=seed, resamples=resamples)

    def details(self, examples: Sequence[Example], probabilities_AL: np.ndarray) -> Mapping[str, Any]:
        """See `Answering`."""
        chosen = probabilities_AL >= THRESHOLD if self.several else probabilities_AL.argmax(axis=1)
        return label_details(self.answers(examples), chosen.astype(np.int64), self.labels.names)

    def choices(self, examples: Sequence[Example], probabilities_AL: np.ndarray) -> list[Any]:
        """A label's name, or the names of several in a tuple."""
        names = np.array(self.labels.names)
        if self.several:
            return [tuple(names[row >= THRESHOLD].tolist()) for row in probabilities_AL]
        return [str(name) for name in names[probabilities_AL.argmax(axis=1)]]
