"""The looks at parallel text: at all rows where that is cheap, and at a sample of them where it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlembed.check.findings import Mark
from mlembed.check.language import foreign_texts, make_identifier
from mlembed.check.lengths import odd_lengths
from mlembed.check.looks import Looks
from mlembed.check.misaligned import misaligned_rows
from mlembed.check.parallel_rows import SpooledRows, sample_rows
from mlembed.check.repeats import HeldOutTexts, repeated_rows
from mlembed.data.records import Row

NO_IDENTIFIER = 'not looked at: py3langid is missing; pip install "mlembed[langid]"'


def sampled(looks: Looks, rows: SpooledRows) -> tuple[np.ndarray, list[Row]]:
    """The rows that the costly looks see: their numbers, and the rows."""
    chosen = sample_rows(rows.language_N, size=looks.options.sample, seed=looks.config.seed)
    looks.about["sample"] = {"rows": len(chosen), "of": len(rows)}
    return chosen, rows.at(chosen)


def look_without_models(looks: Looks, rows: SpooledRows, held_out: HeldOutTexts) -> list[Mark]:
    """Duplicates, leaks, and odd lengths of all rows; languages of a sample."""
    with looks.looking("rows"):
        marks = repeated_rows(rows, held_out) + odd_lengths(rows)
    with looks.looking("languages"):
        marks += _foreign(looks, rows)
    return marks


def _foreign(looks: Looks, rows: SpooledRows) -> list[Mark]:
    if (identifier := make_identifier()) is None:
        looks.about["languages"] = NO_IDENTIFIER
        return []
    chosen, pairs = sampled(looks, rows)
    first_of = {pair.source: at for at, pair in reversed(list(enumerate(pairs)))}
    source_language = looks.config.data.source_language
    texts = [*(pair.target for pair in pairs), *first_of]
    languages = [*(pair.language for pair in pairs), *([source_language] * len(first_of))]
    numbers = np.concatenate([chosen, chosen[list(first_of.values())]])
    return foreign_texts(
        texts, languages, numbers=numbers, looked_at=len(chosen), identifier=identifier, poll=looks.machine.poll
    )


def look_at_words(
    looks: Looks,
    pairs: Sequence[Row],
    chosen: np.ndarray,
    *,
    tokenizer: Any,
    encode: Callable[[Sequence[str]], np.ndarray] | None,
) -> list[Mark]:
    """Pairs of a sample that do not say the same."""
    with looks.looking("pairs"):
        marks, about = misaligned_rows(
            pairs,
            numbers=chosen,
            tokenizer=tokenizer,
            encode=encode,
            machine=looks.machine,
            seed=looks.config.seed,
        )
        looks.about["pairs"] = about
        return marks
    return []
