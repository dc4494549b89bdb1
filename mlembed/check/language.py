"""Texts in another language than the data say, by py3langid, which works without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlembed.check.findings import Mark
from mlembed.data.languages import primary_subtag

# A text is in another language when its own has at most this probability, and the best one at least that.
OWN_AT_MOST, BEST_AT_LEAST = 0.02, 0.5
# Shorter texts say little: a name is at home in many languages. Of a script with a sign a word, a third is enough.
LEAST_CHARACTERS = 15
# What other tools call a language of the identifier, and languages that nobody tells apart by a sentence.
ALIKE = (
    {"no", "nb", "nn", "da"},
    {"hr", "sr", "bs", "sh"},
    {"id", "ms"},
    {"zh", "yue", "wuu", "cmn"},
    {"tl", "fil"},
    {"he", "iw"},
    {"fa", "prs"},
    {"ku", "kmr", "ckb", "sdh"},
    {"gl", "pt"},
)

Identify = Callable[[str], "tuple[str, float, dict[str, float]]"]


def make_identifier() -> tuple[Identify, frozenset[str]] | None:
    """A function that tells the best language of a text, its probability, and those of all; and what it knows.

    Returns:
        None where py3langid is not installed.
    """
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        return None
    identifier: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def identify(text: str) -> tuple[str, float, dict[str, float]]:
        ranked = [(str(name), float(probability)) for name, probability in identifier.rank(text)]
        return *ranked[0], dict(ranked)

    return identify, frozenset(map(str, identifier.labels))


def foreign_texts(
    texts: Sequence[str],
    languages: Sequence[str],
    *,
    numbers: np.ndarray,
    looked_at: int,
    identifier: tuple[Identify, frozenset[str]],
    poll: Callable[[], None],
) -> list[Mark]:
    """A mark of rows whose text is in another language.

    Args:
        texts: N texts.
        languages: what the data say of each.
        numbers: of their rows.
        looked_at: how many rows there are.
        identifier: of `make_identifier`.
        poll: called now and then; raises to end early.
    """
    identify, known = identifier
    # Number of a row -> how bad, and why; a row has two texts.
    found: dict[int, tuple[float, str]] = {}
    for at, (text, language) in enumerate(zip(texts, languages, strict=True)):
        if at % 1000 == 0:
            poll()
        own = _names(language) & known
        if not own or _weight(text) < LEAST_CHARACTERS:
            continue
        best, probability, all_of = identify(text)
        mine = sum(all_of[name] for name in own)
        if best not in own and probability >= BEST_AT_LEAST and mine <= OWN_AT_MOST:
            found.setdefault(int(numbers[at]), (probability - mine, f"{text!r} looks like {best}, not {language}"))
    if not found:
        return []
    whys = list(found.values())
    badness = np.array([how for how, _ in whys])
    return [Mark("wrong_language", np.array(list(found)), badness, lambda at: whys[at][1], looked_at)]


def _names(language: str) -> set[str]:
    name = primary_subtag(language)
    return {name}.union(*(group for group in ALIKE if name in group))


def _weight(text: str) -> int:
    """Characters, those of scripts without spaces three times."""
    return sum(3 if ord(letter) >= 0x2E80 else 1 for letter in text)
