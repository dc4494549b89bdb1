"""Tagged rows in other languages, from parallel text: the teacher tags the source, sure names are carried over."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from mlembed.data.corpus import Corpus
from mlembed.data.examples import Example
from mlembed.data.order import order_key, shuffled
from mlembed.data.tags import OUTSIDE, normalized_tags
from mlembed.data.words import split_words
from mlembed.machine import Machine
from mlembed.models.alignment import ITERATIONS
from mlembed.models.projection import learn_alignment, projected
from mlembed.models.text_model import TextModel
from mlembed.tasks.answering import Answering

log = logging.getLogger("mlembed")

# Pairs of a language that words are aligned in and names are looked for, at most.
MAX_PAIRS = 100_000


def projected_examples(
    corpus: Corpus, teacher: TextModel, *, answering: Answering, confidence: float, machine: Machine, seed: int
) -> list[Example]:
    """Tag the translations of a corpus.

    A sentence is kept where the teacher is sure of each tag, and all of its names are carried over; of sentences
    without a name as many as of those with one, in each language.

    Args:
        corpus: parallel text.
        teacher: it tags the sources.
        answering: the task.
        confidence: least probability of the teacher's tags, and of each link between words.
        machine: what it computes with.
        seed: of the choice among very many pairs.
    """
    found: list[Example] = []
    for at, language in enumerate(corpus.languages):
        members = _members(corpus, at, seed=seed)
        pairs = [_words(corpus, int(member)) for member in members]
        sources, targets = [source for source, _ in pairs], [target for _, target in pairs]
        with machine.counting(f"alignment {language}", total=2 * ITERATIONS) as advance:
            alignment = learn_alignment(sources, targets, advance=advance)
        counts: Counter[str] = Counter()
        kept: dict[bool, list[Example]] = {True: [], False: []}
        tagged = _tagged(sources, teacher, answering=answering, language=language, machine=machine)
        for member, (source, target), (tags, sure) in zip(members, pairs, tagged, strict=True):
            if sure < confidence:
                counts["teacher unsure"] += 1
                continue
            result = projected(alignment, source, tags, target, confidence=confidence)
            if isinstance(result, str):
                counts[result.replace("_", " ")] += 1
                continue
            path, _, line = corpus.place(int(member)).rpartition(":")
            has_name = any(tag != OUTSIDE for tag in result)
            kept[has_name].append(Example(tuple(target), None, result, language, None, path, int(line)))
        own = [*kept[True], *kept[False][: len(kept[True])]]
        refused = ", ".join(f"{why} {count}" for why, count in counts.most_common()) or "none"
        log.info("projection %s: %d of %d sentences are tagged; not: %s", language, len(own), len(pairs), refused)
        found += own
    return found


def _members(corpus: Corpus, language: int, *, seed: int) -> np.ndarray:
    count = int(corpus.counts_L[language])
    first = int(np.cumsum(corpus.counts_L)[language]) - count
    ranks = shuffled(np.arange(min(count, MAX_PAIRS)), count, key=order_key(seed, language))
    members: np.ndarray = np.sort(corpus.by_language[first + ranks])
    return members


def _words(corpus: Corpus, member: int) -> tuple[list[str], list[str]]:
    source = corpus.texts[int(corpus.source_of_members[member])]
    target = corpus.texts[int(corpus.members[member])]
    return [word for word, _, _ in split_words(source)], [word for word, _, _ in split_words(target)]


def _tagged(
    sources: Sequence[Sequence[str]], teacher: TextModel, *, answering: Answering, language: str, machine: Machine
) -> Iterator[tuple[tuple[str, ...], float]]:
    """The teacher's tags of each sentence, and the least probability among them; a sentence is tagged once."""
    distinct = list(dict.fromkeys(tuple(words) for words in sources))
    examples = [Example(words, None, None, "", None, "", 0) for words in distinct]
    logits_AL = machine.answer(teacher, answering.inputs(teacher, examples), what=f"teacher, sources of {language}")
    probabilities_AL = answering.probabilities(logits_AL)
    best_A = probabilities_AL.max(axis=1)
    tags = answering.choices(examples, probabilities_AL)
    ends = np.cumsum([0, *(len(words) for words in distinct)])
    answers = {
        words: (normalized_tags(own), float(best_A[ends[at] : ends[at + 1]].min(initial=1.0)))
        for at, (words, own) in enumerate(zip(distinct, tags, strict=True))
    }
    return (answers[tuple(words)] for words in sources)
