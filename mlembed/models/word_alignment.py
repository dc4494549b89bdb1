"""Which words stand for which: IBM Model 1 in both directions, and how sure it is of each link."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from mlembed.models.alignment import align, make_bitext
from mlembed.models.vocabulary import UNSPACED
from mlembed.tokens import TokenTable

Words = Sequence[str]

# Pairs of word positions that are learnt from, in each direction: two gigabytes while they are counted.
MAX_ENTRIES = 16_000_000


@dataclass(frozen=True)
class _Table:
    """Probabilities of words of one side, given words of the other, in little memory.

    Args:
        keys_K: `given * width + word`, sorted.
        probability_K: of each.
        width: words of the side that is predicted.
    """

    keys_K: np.ndarray
    probability_K: np.ndarray
    width: int

    @classmethod
    def of(cls, probabilities: sp.csr_matrix) -> _Table:
        """Take what `align` found."""
        probabilities.sort_indices()
        rows = np.repeat(np.arange(probabilities.shape[0]), np.diff(probabilities.indptr))
        width = probabilities.shape[1]
        return cls(rows * width + probabilities.indices, probabilities.data.astype(np.float32), width)

    def look_up(self, given_N: np.ndarray, words_M: np.ndarray) -> np.ndarray:
        """Probabilities of M words, given N: `[N, M]`; 0 where a number is -1."""
        keys_NM = given_N[:, None] * self.width + words_M
        at_NM = np.searchsorted(self.keys_K, keys_NM).clip(max=max(0, len(self.keys_K) - 1))
        known_NM = (given_N[:, None] >= 0) & (words_M >= 0)
        if not len(self.keys_K):
            return np.zeros(keys_NM.shape)
        return np.where(known_NM & (self.keys_K[at_NM] == keys_NM), self.probability_K[at_NM], 0).astype(np.float64)


@dataclass(frozen=True)
class WordAlignment:
    """Which words stand for which, learnt from parallel text.

    Args:
        sources: case-folded word of the sources -> its number.
        targets: of the translations.
        to_target: probabilities of target words, given source words.
        to_source: probabilities of source words, given target words.
    """

    sources: Mapping[str, int]
    targets: Mapping[str, int]
    to_target: _Table
    to_source: _Table

    def posteriors(self, source: Words, target: Words) -> tuple[np.ndarray, np.ndarray]:
        """How sure each link of a pair of sentences is, in both directions.

        Capitalized words and numbers that are written the same, once on each side, are linked for sure.

        Returns:
            `[N, M]`: the probability that target word m was made from source word n, and that source word n was made
            from target word m; what is missing from 1 in a column of the first, or a row of the second, is that of no
            word at all.
        """
        source_N = _numbers(source, self.sources)
        target_M = _numbers(target, self.targets)
        forward = self.to_target.look_up(np.append(source_N, len(self.sources)), target_M)
        backward = self.to_source.look_up(np.append(target_M, len(self.targets)), source_N)
        for n, m in _same_written(source, target):
            for table, row, column in ((forward, n, m), (backward, m, n)):
                table[row, :] = table[:, column] = 0
                table[row, column] = 1
        forward /= np.maximum(forward.sum(axis=0), 1e-30)
        backward /= np.maximum(backward.sum(axis=0), 1e-30)
        return forward[:-1], backward[:-1].T


def learn_alignment(
    sources: Sequence[Words],
    targets: Sequence[Words],
    *,
    advance: Callable[[int], None] = lambda count: None,
    max_entries: int = MAX_ENTRIES,
) -> WordAlignment:
    """Learn from sentences and their translations, into one language.

    Pairs in a script without spaces are left out. Of many pairs a part is used, the same one each time.

    Args:
        sources: words of sentences, as `split_words` parts them.
        targets: words of their translations.
        advance: called after each iteration, of which there are two times `alignment.ITERATIONS`.
        max_entries: bounds the memory.
    """
    spaced = [at for at, pair in enumerate(zip(sources, targets, strict=True)) if not any(map(is_unspaced, pair))]
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(spaced))
    (source_table, source_ids), (target_table, target_ids) = (
        _table([side[spaced[at]] for at in order]) for side in (sources, targets)
    )
    pairs = np.repeat(np.arange(len(spaced))[:, None], 2, axis=1)
    tables = []
    for given, said, known, new in (
        (source_table, target_table, source_ids, target_ids),
        (target_table, source_table, target_ids, source_ids),
    ):
        vocabulary = {"student_vocabulary": len(known), "teacher_vocabulary": len(new)}
        bitext = make_bitext(given, said, pairs=pairs, **vocabulary, max_entries=max_entries)
        tables.append(_Table.of(align(bitext, advance=advance, null=True)))
    return WordAlignment(source_ids, target_ids, *tables)


def is_content(word: str) -> bool:
    """Whether a word is capitalized or a number; `of` and hyphens within names need no counterpart."""
    return word != word.lower() or any(letter.isdigit() for letter in word)


def is_unspaced(words: Words) -> bool:
    """Whether some are in a script without spaces, where nobody has said where words end."""
    return any(len(run) > 1 for word in words for run in UNSPACED.findall(word))


def _same_written(source: Words, target: Words) -> list[tuple[int, int]]:
    source_count, target_count = (Counter(map(str.casefold, words)) for words in (source, target))
    places = {word.casefold(): at for at, word in enumerate(target) if is_content(word)}
    return [
        (at, places[folded])
        for at, word in enumerate(source)
        if is_content(word)
        and (folded := word.casefold()) in places
        and source_count[folded] == target_count[folded] == 1
    ]


def _numbers(words: Words, ids: Mapping[str, int]) -> np.ndarray:
    return np.array([ids.get(word.casefold(), -1) for word in words], dtype=np.int64)


def _table(texts: Sequence[Words]) -> tuple[TokenTable, dict[str, int]]:
    ids: dict[str, int] = {}
    flat = np.fromiter((ids.setdefault(w.casefold(), len(ids)) for words in texts for w in words), dtype=np.int32)
    lengths = np.array([0, *map(len, texts)], dtype=np.int64)
    return TokenTable(flat, np.cumsum(lengths), pad_id=0), ids
