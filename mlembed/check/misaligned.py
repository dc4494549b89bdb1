"""Pairs that do not say the same, such as those of shifted lines: suspected by their words, judged by a model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mlembed.check.findings import Mark
from mlembed.check.lengths import TO_DEVIATION
from mlembed.check.word_evidence import word_evidence
from mlembed.data.records import Row
from mlembed.machine import Machine
from mlembed.report.vectors import unit_rows
from mlembed.tokens import tokenize

log = logging.getLogger("mlembed")

# A pair is suspected when its words fit less than those of so many wrong pairs do.
SUSPECTED = 0.95
# Where no model can judge, it is found when its words fit less than those of fewer wrong pairs, where there are enough
# pairs to learn words from: with 2 % of the lines shifted, two thirds of what was found among 4,000 pairs was right,
# two fifths among 2,000, a seventh among 600.
FOUND_BY_WORDS, LEAST_BY_WORDS = 0.35, 4000
# Fewer pairs of a language are too few to learn its words from: a model looks at all of them.
LEAST_PAIRS = 200
# Pairs of a language, drawn at random, that a model's judgment is measured on, and compared with.
REFERENCE = 64
# Suspects that a model looks at, in all languages: the most suspect ones first.
MOST_SUSPECTS = 4000
# Neighbours that a pair is compared with.
NEIGHBOURS = 4
# A pair is found when others are nearer to it than its own sentence, and by more than so many robust deviations beyond
# what is usual in the reference: a weak model finds others nearer to many pairs.
UNUSUAL = 2.0
# A model may judge a language when it finds so many of the reference's translations among all.
LEAST_KNOWN = 0.5


@dataclass(frozen=True)
class Judged:
    """What was looked at in one language.

    Args:
        found: places of pairs that do not fit, within the language.
        score_M: how much less each fits than others would.
        by: `model` or `words`.
        known: share of the reference's translations that the model finds.
    """

    found: np.ndarray
    score_M: np.ndarray
    by: str
    known: float


def misaligned_rows(
    pairs: Sequence[Row],
    *,
    numbers: np.ndarray,
    tokenizer: object,
    encode: Callable[[Sequence[str]], np.ndarray] | None,
    machine: Machine,
    seed: int,
) -> tuple[list[Mark], dict[str, dict[str, object]]]:
    """A mark of pairs that do not say the same, and how each language was judged.

    Args:
        pairs: N rows.
        numbers: their numbers.
        tokenizer: cuts both sides into tokens.
        encode: texts to vectors in which translations are near one another; None: there is no such model.
        machine: for signals and bars.
        seed: of what is drawn.
    """
    by_language: dict[str, list[int]] = {}
    for at, pair in enumerate(pairs):
        by_language.setdefault(pair.language, []).append(at)
    found: list[tuple[int, float, str]] = []
    about: dict[str, dict[str, object]] = {}
    with machine.counting("words of the pairs", total=2 * len(by_language)) as advance:
        suspects = {
            language: _suspects([pairs[at] for at in places], tokenizer, seed=seed, advance=advance, poll=machine.poll)
            for language, places in sorted(by_language.items())
        }
    share = MOST_SUSPECTS / max(MOST_SUSPECTS, sum(len(one.order) for one in suspects.values()))
    for language, suspected in suspects.items():
        places = np.array(by_language[language])
        judged = _judge([pairs[at] for at in places], suspected, encode, share=share, seed=seed)
        about[language] = {"pairs": len(places), "by": judged.by, "known": round(judged.known, 3)}
        said = "to others than to one another" if judged.by == "model" else "less than those of wrong pairs"
        what = "the vectors are nearer" if judged.by == "model" else "the words fit"
        for at, score in zip(places[judged.found].tolist(), judged.score_M.tolist(), strict=True):
            found.append((at, score, f"{what} {said} ({score:.2f})"))
    if not found:
        return [], about
    at_M, score_M = np.array([at for at, _, _ in found]), np.array([score for _, score, _ in found])
    return [Mark("misaligned", numbers[at_M], score_M, lambda at: found[at][2], len(pairs))], about


@dataclass(frozen=True)
class _Suspects:
    """Pairs of one language by their words: the most suspect first; and those that words alone decide."""

    order: np.ndarray
    evidence_N: np.ndarray
    decided: np.ndarray


def _suspects(
    pairs: Sequence[Row],
    tokenizer: object,
    *,
    seed: int,
    advance: Callable[[int], None],
    poll: Callable[[], None],
) -> _Suspects:
    if len(pairs) < LEAST_PAIRS:
        advance(2)
        return _Suspects(np.arange(len(pairs)), np.zeros(len(pairs)), np.zeros(0, dtype=np.int64))
    source, target = (
        tokenize(texts, tokenizer=tokenizer, max_length=64, add_special_tokens=False, poll=poll)
        for texts in ([pair.source for pair in pairs], [pair.target for pair in pairs])
    )
    vocabulary = 1 + int(max(source.ids.max(initial=0), target.ids.max(initial=0)))
    own_N, other_N = word_evidence(source, target, vocabulary=vocabulary, seed=seed, advance=advance)
    order = np.argsort(own_N, kind="stable")
    suspected = order[own_N[order] < np.quantile(other_N, SUSPECTED)]
    decided = order[own_N[order] < np.quantile(other_N, FOUND_BY_WORDS)][: None if len(pairs) >= LEAST_BY_WORDS else 0]
    return _Suspects(suspected, own_N, decided)


def _judge(
    pairs: Sequence[Row],
    suspects: _Suspects,
    encode: Callable[[Sequence[str]], np.ndarray] | None,
    *,
    share: float,
    seed: int,
) -> Judged:
    """Which of the suspects do not fit; a model decides where it knows the language."""
    by_words = Judged(suspects.decided, -suspects.evidence_N[suspects.decided], "words", 0.0)
    if encode is None or len(pairs) <= NEIGHBOURS:
        return by_words
    draw = np.random.Generator(np.random.PCG64(seed))
    reference = draw.permutation(len(pairs))[:REFERENCE]
    # Cut short only where there are too many in all.
    looked_at = suspects.order[: max(1, round(len(suspects.order) * share))]
    shown = np.concatenate([reference, np.setdiff1d(looked_at, reference)])
    texts = list(dict.fromkeys(text for at in shown for text in (pairs[at].source, pairs[at].target)))
    vectors_ND = unit_rows(encode(texts))
    number = {text: at for at, text in enumerate(texts)}
    source_N = np.array([number[pairs[at].source] for at in shown])
    target_N = np.array([number[pairs[at].target] for at in shown])
    similarity_NN = vectors_ND[source_N] @ vectors_ND[target_N].T
    own_N = np.diagonal(similarity_NN).copy()
    # The same text is no neighbour.
    similarity_NN[(source_N[:, None] == source_N) | (target_N[:, None] == target_N)] = -1
    few = slice(0, len(reference))
    known = float(np.mean(own_N[few] > similarity_NN[few, few].max(axis=1)))
    if known < LEAST_KNOWN:
        return Judged(by_words.found, by_words.score_M, "words", known)
    nearest = NEIGHBOURS if len(shown) > NEIGHBOURS else 1
    near_N = (_top(similarity_NN, nearest) + _top(similarity_NN.T, nearest)) / 2
    margin_N = near_N - own_N
    usual = float(np.median(margin_N[few]))
    spread = TO_DEVIATION * float(np.median(np.abs(margin_N[few] - usual)))
    bad = np.flatnonzero((margin_N > max(0.0, usual + UNUSUAL * spread)) & np.isin(shown, looked_at))
    return Judged(shown[bad], margin_N[bad], "model", known)


def _top(similarity_NM: np.ndarray, count: int) -> np.ndarray:
    """The mean of the largest of each row."""
    top_N: np.ndarray = np.partition(similarity_NM, -count, axis=1)[:, -count:].mean(axis=1)
    return top_N
