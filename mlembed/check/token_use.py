"""How the tokenizers cut the texts of each language: tokens a word, unknown ones, and what is cut off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlembed.check.findings import Finding
from mlembed.data.records import Row
from mlembed.models.text_model import TextModel
from mlembed.tasks.vocabulary_use import vocabulary_use
from mlembed.tokens import tokenize

# Texts of a language, at most.
MOST_TEXTS = 500
# Shares from which on it is a finding.
UNKNOWN, CUT = 0.01, 0.01
# Nothing is cut at so many tokens.
NO_LIMIT = 1_000_000


@dataclass(frozen=True)
class TokenUse:
    """How a tokenizer cuts the texts of one language.

    Args:
        texts: how many were looked at.
        tokens_per_word: words are what white space parts.
        unknown: share of the tokens that are the unknown one.
        cut: share of the texts that are longer than the model reads.
        longest: tokens of the longest text.
    """

    texts: int
    tokens_per_word: float
    unknown: float
    cut: float
    longest: int


def token_use(texts: Mapping[str, Sequence[str]], model: TextModel) -> dict[str, TokenUse]:
    """Look at a model's tokenizer.

    Args:
        texts: language -> texts, of which the first `MOST_TEXTS` are read.
        model: whose tokenizer and limit count.
    """
    rows = [Row(text, text, language, "", 0) for language, some in texts.items() for text in some[:MOST_TEXTS]]
    rates = vocabulary_use(rows, {"": model.tokenizer})
    found = {}
    for language, some in texts.items():
        special = not model.is_static
        table = tokenize(some[:MOST_TEXTS], tokenizer=model.tokenizer, max_length=NO_LIMIT, add_special_tokens=special)
        rate = rates[language][""]
        found[language] = TokenUse(
            texts=len(table),
            tokens_per_word=round(rate["tokens_per_word"], 3),
            unknown=round(rate["unknown"], 5),
            cut=round(float(np.mean(table.lengths_N > model.max_length)), 5),
            longest=int(table.lengths_N.max()),
        )
    return found


def token_findings(use: Mapping[str, TokenUse], *, max_length: int) -> list[Finding]:
    """What is worth a warning."""
    unknown = {language: one for language, one in use.items() if one.unknown > UNKNOWN}
    cut = {language: one for language, one in use.items() if one.cut > CUT}
    findings = []
    if unknown:
        messages = [f"{language}: {100 * one.unknown:.1f} % of the tokens" for language, one in unknown.items()]
        findings.append(Finding("unknown_tokens", "warns", len(unknown), messages=messages))
    if cut:
        messages = [
            f"{language}: {100 * one.cut:.1f} % of the texts are longer than {max_length} tokens, up to {one.longest}"
            for language, one in cut.items()
        ]
        findings.append(Finding("truncated", "warns", len(cut), messages=messages))
    return findings
