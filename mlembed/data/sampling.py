"""How often each language is drawn in an epoch, and which of its translations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mlembed.data.corpus import Corpus
from mlembed.data.languages import WantedLanguages
from mlembed.data.order import order_key, shuffled
from mlembed.errors import ConfigError


@dataclass(frozen=True)
class Sampling:
    """What is asked for.

    Args:
        temperature: T; of n translations of a language so many are drawn that their number is proportional to
            `n ** (1 / T)`. 1: as the data are; more: small languages come more often.
        max_per_language: translations of a language that are used, at most, spread evenly over all; None: all.
        language_weights: language -> how many times as often it is drawn as without.

    Source: Arivazhagan et al. (2019), https://arxiv.org/abs/1907.05019; Conneau et al. (2020),
    https://arxiv.org/abs/1911.02116.
    """

    temperature: float = 1.0
    max_per_language: int | None = None
    language_weights: Mapping[str, float] = field(default_factory=dict)


class Draw:
    """The translations of each epoch.

    An epoch has as many as there are (within the cap). A language that is drawn less often than it has translations
    gives the next part of them in each epoch; one that is drawn more often repeats each as often as the others, or
    once more.

    Args:
        corpus: the training groups.
        sampling: what is asked for.
        seed: of the order in which the translations of a language come.

    Raises:
        ConfigError: a weight is for a language that there is not.
    """

    def __init__(self, corpus: Corpus, sampling: Sampling, *, seed: int) -> None:
        self._corpus, self._key = corpus, order_key(seed, -1)
        limit = sampling.max_per_language
        self._there_L = corpus.counts_L
        self._used_L = self._there_L if limit is None else np.minimum(self._there_L, limit)
        weight_L = np.power(self._used_L.astype(np.float64), 1 / sampling.temperature) * (self._used_L > 0)
        weight_L *= _weights(corpus, sampling.language_weights)
        self.drawn_L = shares(weight_L, total=int(self._used_L.sum()))
        self._starts_L = np.cumsum(self.drawn_L) - self.drawn_L
        self._first_L = np.cumsum(self._there_L) - self._there_L
        # Without any sampling an epoch is all members: nothing needs to be looked up.
        self._is_all = bool((self.drawn_L == self._there_L).all())

    def __len__(self) -> int:
        return int(self.drawn_L.sum())

    def members(self, place_N: np.ndarray, *, epoch: int) -> np.ndarray:
        """The members at some places of an epoch's draw, `0 <= place < len(self)`."""
        if self._is_all:
            return place_N
        language_N = np.searchsorted(self._starts_L, place_N, side="right") - 1
        drawn_N, used_N, there_N = (part[language_N] for part in (self.drawn_L, self._used_L, self._there_L))
        turn_N = (place_N - self._starts_L[language_N] + epoch * drawn_N) % used_N
        rank_N = shuffled(turn_N, used_N, key=self._key)
        # Spread evenly over all where there is a cap.
        rank_N = rank_N * there_N // used_N
        members_N: np.ndarray = self._corpus.by_language[self._first_L[language_N] + rank_N]
        return members_N

    def counts(self) -> dict[str, int]:
        """Translations of each language in an epoch."""
        counts = sorted(zip(self._corpus.languages, self.drawn_L.tolist(), strict=True))
        return {language: count for language, count in counts if count}


def shares(weight_L: np.ndarray, *, total: int) -> np.ndarray:
    """Whole numbers in proportion to weights, with the given sum: rounded down, the largest remainders up."""
    exact_L = weight_L / weight_L.sum() * total
    share_L: np.ndarray = np.floor(exact_L).astype(np.int64)
    order = np.argsort(share_L - exact_L, kind="stable")
    share_L[order[: total - int(share_L.sum())]] += 1
    return share_L


def _weights(corpus: Corpus, weights: Mapping[str, float]) -> np.ndarray:
    there = [language for language, count in zip(corpus.languages, corpus.counts_L, strict=True) if count]
    known = WantedLanguages(there)
    weight_L = np.ones(len(corpus.languages))
    for code, weight in weights.items():
        language = known.exact(code)
        if language is None:
            names = ", ".join(sorted(there))
            raise ConfigError(f"data.language_weights: no text is in {code!r}; the languages are {names}")
        weight_L[corpus.languages.index(language)] = weight
    return weight_L
