"""How a tokenizer cuts the text of each language: tokens a word, and what it does not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlembed.data.records import Row

# Enough for two digits, and quick for any corpus.
MAX_ROWS = 2000


def vocabulary_use(rows: Sequence[Row], tokenizers: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Measure tokenizers on the translations of each language.

    Args:
        rows: parallel rows; at most `MAX_ROWS` of a language are read.
        tokenizers: system -> tokenizer of transformers.

    Returns:
        Language -> system -> `tokens_per_word` (words are parted by white space, so it is large for scripts without
        spaces), `tokens_per_character`, and `unknown`, the share of tokens that are the unknown token.
    """
    texts: dict[str, list[str]] = {}
    for row in rows:
        of_language = texts.setdefault(row.language, [])
        if len(of_language) < MAX_ROWS:
            of_language.append(row.target)
    return {
        language: {system: _measure(texts[language], tokenizer) for system, tokenizer in tokenizers.items()}
        for language in sorted(texts)
    }


def _measure(texts: list[str], tokenizer: Any) -> dict[str, float]:
    ids = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    tokens = sum(len(one) for one in ids)
    unknown = sum(one.count(tokenizer.unk_token_id) for one in ids)
    return {
        "tokens_per_word": tokens / max(1, sum(len(text.split()) for text in texts)),
        "tokens_per_character": tokens / max(1, sum(len(text.replace(" ", "")) for text in texts)),
        "unknown": unknown / max(1, tokens),
    }
