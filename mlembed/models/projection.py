"""Tags of a sentence carried over to its translation, name by name, only where the alignment is sure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mlembed.models.word_alignment import WordAlignment, Words, is_content, is_unspaced

Refusal = Literal["unsure", "not_contiguous", "uncapitalized"]

# A word that accompanies a name's word, such as the "am" of "am Montag", has a smaller share in it than this.
LEAST_SHARE = 0.2


@dataclass(frozen=True)
class TaggedPair:
    """A sentence with a teacher's tags, and its translation.

    Args:
        source_words: of the sentence.
        source_tags: B-, I- and O, each name beginning with B.
        certainty: the least probability of its tags, over its words.
        target_words: of its translation.
    """

    source_words: Words
    source_tags: Words
    certainty: float
    target_words: Words


@dataclass(frozen=True)
class Projection:
    """Translations that have tags now.

    Args:
        pairs_K: numbers of the pairs whose translations are kept, ascending.
        tags: the tags of the words of each.
        counts: how many pairs there are of each kind: `kept` (with names), `kept_without_names`, and those left out:
            `uncertain` (the teacher), `unsure` and `not_contiguous` (the alignment), `uncapitalized` (a word that is
            no name in the target's language), `unspaced`, `without_names` (too many of them).
    """

    pairs_K: np.ndarray
    tags: list[tuple[str, ...]]
    counts: Mapping[str, int]


def project_all(
    alignment: WordAlignment, pairs: Iterable[TaggedPair], *, confidence: float, certainty: float, seed: int
) -> Projection:
    """Carry tags over to translations, where all of a sentence is sure.

    Sentences without names are kept up to the number of those with names: else a student learns that there are none.
    Pairs with a script without spaces are left out: their words would be whole clauses.

    Args:
        alignment: of the two languages.
        pairs: read once; none is held in memory.
        confidence: of the alignment; see `projected`.
        certainty: of the teacher: least probability of the tags.
        seed: of the choice among sentences without names.
    """
    counts: Counter[str] = Counter()
    found: dict[int, tuple[str, ...]] = {}
    # Their tags are told by their lengths: there may be millions.
    without: list[tuple[int, int]] = []
    for number, pair in enumerate(pairs):
        if pair.certainty < certainty:
            counts["uncertain"] += 1
        elif is_unspaced(pair.source_words) or is_unspaced(pair.target_words):
            counts["unspaced"] += 1
        elif isinstance(outcome := _outcome(alignment, pair, confidence=confidence), str):
            counts[outcome] += 1
        elif any(tag != "O" for tag in outcome):
            found[number] = outcome
        else:
            without.append((number, len(outcome)))
    generator = np.random.Generator(np.random.PCG64(seed))
    chosen = generator.permutation(len(without))[: len(found)].tolist()
    counts |= {"kept": len(found), "kept_without_names": len(chosen), "without_names": len(without) - len(chosen)}
    found |= {number: ("O",) * length for number, length in (without[at] for at in chosen)}
    numbers = sorted(found)
    return Projection(np.array(numbers, dtype=np.int64), [found[number] for number in numbers], dict(counts))


def _outcome(alignment: WordAlignment, pair: TaggedPair, *, confidence: float) -> tuple[str, ...] | Refusal:
    if not pair.target_words:
        return "unsure"
    return projected(alignment, pair.source_words, pair.source_tags, pair.target_words, confidence=confidence)


def project(
    alignment: WordAlignment, source_words: Words, source_tags: Words, target_words: Words, *, confidence: float
) -> tuple[str, ...] | None:
    """Carry the tags of a sentence over to its translation; None where one of its names is not sure.

    See `projected`, which says why.
    """
    found = projected(alignment, source_words, source_tags, target_words, confidence=confidence)
    return None if isinstance(found, str) else found


def projected(
    alignment: WordAlignment, source_words: Words, source_tags: Words, target_words: Words, *, confidence: float
) -> tuple[str, ...] | Refusal:
    """Carry the tags of a sentence over to its translation, or say why not.

    A target word belongs to a name where, with at least this probability, it was made from one of the name's words. The
    name is sure where each of its words, capitalized ones and numbers if it has any, was made from these with at least
    this probability, and no other word of the sentence was. Its words must stand together; one word between two of
    them joins them if it is linked with nothing else, such as a hyphen or an article. Names must not overlap. A word
    that only goes along with a name is left out, and makes it unsure if words of the name seem to be missing. What is
    written with a capital in the source, and without any in the target, such as "Spanish" and "español", is no name
    there.

    Args:
        alignment: of the two languages.
        source_words: of the sentence.
        source_tags: B-, I- and O, each name beginning with B.
        target_words: of its translation.
        confidence: least probability, above 0.

    Returns:
        A tag for each target word; or `unsure`, `not_contiguous` or `uncapitalized`.

    Source: related are Yarowsky et al. (2001), https://aclanthology.org/H01-1035, and for the posteriors in both
    directions Liang et al. (2006), Alignment by Agreement, https://aclanthology.org/N06-1014.
    """
    tags = ["O"] * len(target_words)
    names = _names(source_tags)
    if not names:
        return tuple(tags)
    forward, backward = alignment.posteriors(source_words, target_words)
    for start, end, kind in names:
        content = [at for at in range(start, end) if is_content(source_words[at])] or list(range(start, end))
        span = _span(forward, backward, start=start, end=end, content=content, confidence=confidence)
        if isinstance(span, str):
            return span
        first, last = span
        if _has_capital(source_words[start:end]) and _is_lower_case(target_words[first:last]):
            return "uncapitalized"
        if any(tag != "O" for tag in tags[first:last]):
            return "unsure"
        tags[first:last] = [f"B-{kind}", *[f"I-{kind}"] * (last - first - 1)]
    return tuple(tags)


def _has_capital(words: Words) -> bool:
    return any(character.isupper() for word in words for character in word)


def _is_lower_case(words: Words) -> bool:
    """Whether there are letters of a script with capitals, but no capital among them."""
    return any(word.islower() for word in words) and not _has_capital(words)


def _span(
    forward: np.ndarray, backward: np.ndarray, *, start: int, end: int, content: list[int], confidence: float
) -> tuple[int, int] | Refusal:
    """Where the name `start:end` of the source stands in the target."""
    own_M = forward[start:end].sum(axis=0)
    others_M = np.delete(forward, np.s_[start:end], axis=0).sum(axis=0)
    is_own_M = own_M >= confidence
    is_linked_M = is_own_M & (backward[start:end].max(axis=0) >= LEAST_SHARE)
    linked = np.flatnonzero(is_linked_M)
    if not len(linked):
        return "unsure"
    first, last = int(linked[0]), int(linked[-1]) + 1
    between = np.setdiff1d(np.arange(first, last), linked)
    if np.diff(linked).max(initial=1) > 2 or (others_M[between] >= confidence).any():
        return "not_contiguous"
    beside = slice(max(0, first - 2), last + 2)
    if last - first < len(content) and (is_own_M & ~is_linked_M)[beside].any():
        # One word for two is common ("Börse"), but here "Vegas" may be what only seems to go along with "Las".
        return "unsure"
    within_N = backward[:, first:last].sum(axis=1)
    if (within_N[content] < confidence).any():
        return "unsure"
    if (np.delete(within_N, np.s_[start:end]) >= confidence).any():
        return "unsure"
    return first, last


def _names(tags: Words) -> list[tuple[int, int, str]]:
    """Start, end and kind of each name."""
    names: list[tuple[int, int, str]] = []
    for at, tag in enumerate(tags):
        if tag.startswith("B-"):
            names.append((at, at + 1, tag[2:]))
        elif tag.startswith("I-"):
            start, end, kind = names[-1]
            assert (end, kind) == (at, tag[2:])
            names[-1] = (start, at + 1, kind)
    return names
