"""Sentence pairs with people's scores of their similarity (STS): sentence1, sentence2, score, lang."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mlembed.data.languages import WantedLanguages
from mlembed.data.parallel import OnError, ReadCounts
from mlembed.data.readers import ReadOptions, open_source
from mlembed.data.records import BadRecord, Record, Row
from mlembed.data.where import Where
from mlembed.errors import DataError

COLUMNS = ("sentence1", "sentence2", "score", "lang")


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """Two sentences of one language, and how similar people found them, on any scale."""

    first: str
    second: str
    score: float
    language: str


@dataclass(frozen=True)
class ScoredSet:
    """Scored pairs by language.

    Args:
        pairs: language -> pairs, in the order of the file.
        source_language: the language whose first sentences are crossed with the others' second ones.
    """

    pairs: Mapping[str, Sequence[ScoredPair]]
    source_language: str

    @property
    def source_rows(self) -> list[Row]:
        """The sentences in the source language, as rows without translations: training must not see them."""
        known = WantedLanguages(self.pairs).exact(self.source_language)
        pairs = self.pairs[known] if known else ()
        texts = dict.fromkeys(text for pair in pairs for text in (pair.first, pair.second))
        return [Row(text, "", self.source_language, "", 0) for text in texts]

    def crossed(self, language: str) -> list[ScoredPair]:
        """Pairs of a sentence in the source language and one in another.

        The file must have the same pairs in the same order in both languages, which their scores show; else there
        are none.
        """
        source_language = WantedLanguages(self.pairs).exact(self.source_language)
        if source_language is None or language == source_language:
            return []
        source, other = self.pairs[source_language], self.pairs[language]
        if [pair.score for pair in source] != [pair.score for pair in other]:
            return []
        return [ScoredPair(one.first, two.second, one.score, language) for one, two in zip(source, other, strict=True)]


def is_scored(name: str, *, options: ReadOptions) -> bool:
    """Whether a file has the columns of STS data."""
    source = open_source(name, options)
    if source.is_bitext:
        return False
    first = next((record for record in itertools.islice(source.records(), 5) if isinstance(record, Record)), None)
    return first is not None and {"sentence1", "sentence2", "score"} <= first.values.keys()


def read_scored(
    names: Sequence[str], *, options: ReadOptions, where: Where, on_error: OnError
) -> tuple[ScoredSet, ReadCounts]:
    """Read STS files.

    Args:
        names: paths, `package:` names, `hub:` names.
        options: the wanted languages; the source language is always read.
        where: which rows are kept.
        on_error: `stop` raises at the first bad row, `skip` counts it.

    Raises:
        DataError: with `file:line`.
    """
    wanted = WantedLanguages(None if options.languages is None else (*options.languages, options.source_language))
    pairs: dict[str, list[ScoredPair]] = defaultdict(list)
    counts = ReadCounts()
    options = replace(options, on_skip=counts.skip)
    for name in names:
        for record in open_source(name, options).records():
            counts.read += 1
            pair = _pair(record, where)
            if isinstance(pair, str):
                counts.bad += 1
                problem = f"{record.path}:{record.line}: {pair}"
                if on_error == "stop":
                    raise DataError(f"{problem}. Correct it, or use data.on_error=skip to count and skip such rows")
                counts.bad_examples = [*counts.bad_examples, problem][:20]
            elif pair is None:
                counts.filtered["where"] += 1
            elif (language := wanted.exact(pair.language)) is None:
                counts.filtered["language"] += 1
            else:
                pairs[language].append(pair)
                counts.kept += 1
    counts.kept_by_language = {language: len(rows) for language, rows in sorted(pairs.items())}
    if not pairs:
        why = ", ".join(f"{reason} {count}" for reason, count in counts.filtered.most_common()) or "none"
        raise DataError(
            f"{', '.join(names)}: no scored pair is left to use ({counts.read} read, {counts.bad} bad; filtered: {why})"
        )
    return ScoredSet(pairs, options.source_language), counts


def _pair(record: Record | BadRecord, where: Where) -> ScoredPair | str | None:
    """The pair; or what is wrong; or None for a row that is not wanted."""
    if isinstance(record, BadRecord):
        return record.problem
    if not where.keeps(record.values):
        return None
    if missing := [column for column in COLUMNS if column not in record.values]:
        return f"no column {missing[0]!r}; the columns here are: {', '.join(record.values)}"
    first, second, score, language = (record.values[column] for column in COLUMNS)
    for column, text in (("sentence1", first), ("sentence2", second), ("lang", language)):
        if not isinstance(text, str) or not text.strip():
            return f"the column {column!r} holds {text!r} where a text is expected"
    try:
        value = float(str(score))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        return f"the score {score!r} is not a number"
    return ScoredPair(str(first).strip(), str(second).strip(), value, str(language).strip())
