"""From rows to the answers of a model with a head: a label, labels, a score, or the names in a text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch

from mlembed.data.tags import OUTSIDE, spans
from mlembed.errors import MlembedError
from mlembed.export.predictions import Entity, Prediction
from mlembed.inputs import Inputs, pair_inputs, text_inputs, twin_inputs, word_inputs
from mlembed.label_starts import AnsweringModel
from mlembed.machine import Machine
from mlembed.models.bi_encoder import COSINE
from mlembed.predict.rows import Row

DIGITS = 6


class Predictor:
    """Answers rows, some at a time, and counts those that were cut.

    Args:
        model: with a head, or an encoder that compares two texts.
        machine: what it computes with.
        top: how many probabilities are given of each row; None: all.
        threshold: the least probability of a label that is given, where a text may have several.
    """

    def __init__(self, model: AnsweringModel, *, machine: Machine, top: int | None, threshold: float) -> None:
        self.model, self.machine = model, machine
        self.top, self.threshold = top, threshold
        # See PROBLEMS: what transformers calls a regression is learnt as a number, not as its sigmoid.
        problem_type = getattr(model.transformer.config, "problem_type", None)
        self.says_regression = model.head.problem == "score" and problem_type == "regression"
        self.is_plain_number = self.says_regression or model.head == COSINE
        self.cut = 0

    def predict(self, rows: Sequence[Row]) -> list[Prediction]:
        """Answer some rows, in their order.

        Raises:
            MlembedError: an answer is not finite.
        """
        inputs = self._inputs(rows, max_length=self.model.max_length)
        self.cut += self._count_cut(rows, inputs)
        logits_AL = self.machine.answer(self.model, inputs, what="predict")
        if inputs.first_W is None:
            self._check(rows, np.isfinite(logits_AL).all(axis=1))
            return [self._of_text(row, logits_L) for row, logits_L in zip(rows, logits_AL, strict=True)]
        assert inputs.word_offsets is not None
        offsets = inputs.word_offsets
        is_good_W = np.isfinite(logits_AL).all(axis=1) | (inputs.first_W < 0)
        spans_N = list(itertools.pairwise(offsets))
        self._check(rows, np.array([bool(is_good_W[start:end].all()) for start, end in spans_N]))
        probabilities_AL = _softmax(logits_AL)
        return [
            self._of_words(row, probabilities_AL[start:end]) for row, (start, end) in zip(rows, spans_N, strict=True)
        ]

    def _inputs(self, rows: Sequence[Row], *, max_length: int) -> Inputs:
        tokenizer, poll = self.model.tokenizer, self.machine.poll
        if self.model.head.of == "words":
            words = [[word for word, _, _ in row.words] for row in rows]
            return word_inputs(words, tokenizer=tokenizer, max_length=max_length, poll=poll)
        texts = [row.text for row in rows]
        seconds = [row.second for row in rows if row.second is not None]
        if seconds:
            assert len(seconds) == len(texts)
            read = twin_inputs if self.model.head.of == "vectors" else pair_inputs
            return read(texts, seconds, tokenizer=tokenizer, max_length=max_length, poll=poll)
        return text_inputs(texts, tokenizer=tokenizer, max_length=max_length, poll=poll)

    def _count_cut(self, rows: Sequence[Row], inputs: Inputs) -> int:
        """How many were cut: of those that fill the model, some just fit, which one more token tells."""
        limit = self.model.max_length
        # Texts that are read apart count as two of the longer one.
        texts = 2 if inputs.twins else 1
        full = np.flatnonzero(inputs.lengths_N >= texts * limit)
        if not len(full):
            return 0
        longer = self._inputs([rows[int(place)] for place in full], max_length=limit + 1)
        return int((longer.lengths_N > texts * limit).sum())

    @staticmethod
    def _check(rows: Sequence[Row], is_good_N: np.ndarray) -> None:
        if not is_good_N.all():
            raise MlembedError(f"{rows[int(is_good_N.argmin())].place}: the answer is not finite; check the model")

    def _of_text(self, row: Row, logits_L: np.ndarray) -> Prediction:
        names, problem = self.model.head.labels, self.model.head.problem
        if problem == "score":
            score = float(logits_L[0] if self.is_plain_number else _sigmoid(logits_L)[0])
            return Prediction(round(score, DIGITS), (), None, row.values, row.place)
        found_L = _sigmoid(logits_L) if problem == "many" else _softmax(logits_L[None])[0]
        order = [int(place) for place in np.argsort(-found_L, kind="stable")]
        probabilities = {names[place]: _rounded(found_L[place]) for place in order[: self.top]}
        if problem == "one":
            best = order[0]
            return Prediction(names[best], (_rounded(found_L[best]),), probabilities, row.values, row.place)
        given = [place for place in order if found_L[place] >= self.threshold]
        labels, likely = tuple(names[place] for place in given), tuple(_rounded(found_L[place]) for place in given)
        return Prediction(labels, likely, probabilities, row.values, row.place)

    def _of_words(self, row: Row, probabilities_WL: np.ndarray) -> Prediction:
        names = self.model.head.labels
        # A word that was cut off has no probabilities, and is no name.
        is_read_W = ~np.isnan(probabilities_WL).any(axis=1)
        best_W = probabilities_WL.argmax(axis=1)
        tags = [names[best] if is_read else OUTSIDE for best, is_read in zip(best_W, is_read_W, strict=True)]
        entities = []
        for kind, first, last in spans(tags):
            start, end = row.words[first][1], row.words[last][2]
            score = _rounded(probabilities_WL[first : last + 1].max(axis=1).mean())
            numbers = (first, last) if row.has_words else (None, None)
            entities.append(Entity(kind, start, end, row.text[start:end], score, *numbers))
        return Prediction(tuple(entities), tuple(one.score for one in entities), None, row.values, row.place)


def _rounded(value: np.floating) -> float:
    return round(float(value), DIGITS)


def _softmax(logits_NL: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits_NL).double().softmax(dim=1).numpy()


def _sigmoid(logits_L: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits_L).double().sigmoid().numpy()
