"""Tagged rows in other languages, from parallel text: the teacher tags the source, sure names are carried over."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from mlembed.data.corpus import Corpus
from mlembed.data.examples import Example
from mlembed.data.order import order_key, shuffled
from mlembed.data.tags import normalized_tags
from mlembed.data.words import split_words
from mlembed.machine import Machine
from mlembed.models.alignment import ITERATIONS
from mlembed.models.projection import TaggedPair, project_all
from mlembed.models.text_model import TextModel
from mlembed.models.word_alignment import learn_alignment
from mlembed.tasks.answering import Answering

log = logging.getLogger("mlembed")

# Pairs of a language that words are aligned in and names are looked for, at most.
MAX_PAIRS = 100_000


def projected_examples(
    corpus: Corpus, teacher: TextModel, *, answering: Answering, confidence: float, machine: Machine, seed: int
) -> list[Example]:
    """Tag the translations of a corpus.

    See `project_all` for which are kept.

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
        tagged = _tagged(sources, teacher, answering=answering, language=language, machine=machine)
        all_pairs = (
            TaggedPair(source, tags, certainty, target)
            for (source, target), (tags, certainty) in zip(pairs, tagged, strict=True)
        )
        result = project_all(alignment, all_pairs, confidence=confidence, certainty=confidence, seed=seed)
        shown = ", ".join(f"{why.replace('_', ' ')} {count}" for why, count in result.counts.items() if count)
        log.info("projection %s: %d of %d sentences are tagged (%s)", language, len(result.tags), len(pairs), shown)
        for at, tags in zip(result.pairs_K.tolist(), result.tags, strict=True):
            path, _, line = corpus.place(int(members[at])).rpartition(":")
            found.append(Example(tuple(pairs[at][1]), None, tags, language, None, path, int(line)))
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
