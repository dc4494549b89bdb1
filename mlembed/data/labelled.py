"""Turns files of any format into labelled examples, with a count of everything that did not become one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mlembed.data.cells import BadCell, Cells
from mlembed.data.examples import Answers, Example, Shape
from mlembed.data.languages import WantedLanguages
from mlembed.data.parallel import MAX_EXAMPLES, OnError, OnUnreadable, ReadCounts
from mlembed.data.readers import ReadOptions, open_source
from mlembed.data.records import BadRecord, Record, shortened
from mlembed.data.where import Where
from mlembed.errors import ConfigError, DataError

SEPARATOR = "|"


def read_examples(
    names: Sequence[str],
    *,
    shape: Shape,
    answers: Answers,
    columns: Mapping[str, str],
    options: ReadOptions,
    where: Where,
    on_error: OnError,
    max_chars: int | None,
    separator: str = SEPARATOR,
    on_unreadable: OnUnreadable | None = None,
) -> tuple[list[Example], ReadCounts]:
    """Read labelled files: TSV, CSV, JSONL, Parquet, intents; and data sets of the hub.

    Args:
        names: paths, `package:` names, `hub:` names.
        shape: "text" is one text, "tokens" its words, "pair" two texts. Words are a list, or a text that is split at
            single spaces. For pairs, sentence1 and sentence2 (STS) stand in for text and text_b.
        answers: "label": one label; "labels": a list of them, or in tables a text that is split at `separator`, where
            none is an answer too; "tags": a tag for each word (BIO; see `tags.normalized_tags`); "score": a number;
            "none": whatever the file has is left aside, and for words a column of texts will do (`words.split_words`).
        columns: the files' own names of the columns text, text_b, label, score, tokens, tags, lang, id; a missing key
            is its own name. `id` may be missing, and `lang` where one language alone is wanted.
        options: the wanted languages; the source language is wanted too.
        where: which rows are kept.
        on_error: `stop` raises at the first bad row, `skip` counts it.
        max_chars: most characters that a text may have; None keeps all.
        separator: see `answers`.
        on_unreadable: hears why a file cannot be read, and the next one is read; None: that ends the reading.

    Returns:
        The examples in the order of the files, and what was counted on the way.

    Raises:
        DataError: with `file:line`; or no example is left.
        ConfigError: a `package:` or `hub:` name is not found.
    """
    assert (answers == "tags") == (shape == "tokens") or answers == "none", f"{answers} for {shape}"
    collector = _Collector(options, on_error=on_error, where=where, max_chars=max_chars)
    for name in names:
        try:
            for record in _records(name, collector.options):
                collector.add(record, columns=columns, shape=shape, answers=answers, separator=separator)
        except (DataError, ConfigError) as error:
            # That of a bad row, which is to stop all, is meant for whoever called.
            if on_unreadable is None or on_error == "stop":
                raise
            on_unreadable(name, error)
    return collector.finish(", ".join(names))


def _records(name: str, options: ReadOptions) -> Iterator[Record | BadRecord]:
    source = open_source(name, options)
    if source.is_bitext:
        raise DataError(f"{name}: {source.format} holds translations without labels; use TSV, CSV, JSONL or Parquet")
    yield from source.records()


class _Collector:
    """Checks records one after the other, and keeps examples and counts."""

    def __init__(self, options: ReadOptions, *, on_error: OnError, where: Where, max_chars: int | None) -> None:
        self._counts = ReadCounts()
        languages = options.languages
        if languages is not None:
            languages = tuple(dict.fromkeys((*languages, options.source_language)))
        self.options = replace(options, languages=languages, on_skip=self._counts.skip)
        self._wanted = WantedLanguages(languages)
        # Without a column that tells the language there can be only one.
        self._only = languages[0] if languages is not None and len(languages) == 1 else None
        self._where, self._on_error, self._max_chars = where, on_error, max_chars
        self._examples: list[Example] = []
        self._other_languages: Counter[str] = Counter()

    def add(
        self,
        record: Record | BadRecord,
        *,
        columns: Mapping[str, str],
        shape: Shape,
        answers: Answers,
        separator: str,
    ) -> None:
        """Take in one record."""
        self._counts.read += 1
        if isinstance(record, BadRecord):
            self._bad(record, record.problem)
            return
        if not self._where.keeps(record.values):
            self._counts.filtered["where"] += 1
            return
        cells = Cells(record.values, columns)
        try:
            code = cells.language() or self._only
            if code is None:
                raise BadCell(cells.no_language())
            language = self._wanted.exact(code)
            # A row in another language need not be as it should.
            if language is None:
                self._counts.filtered["language"] += 1
                self._other_languages[code] += 1
                return
            text, second = _texts(cells, shape=shape, answers=answers)
            words = len(text) if isinstance(text, tuple) else 0
            answer = cells.answer(answers, words=words, separator=separator)
        except BadCell as error:
            self._bad(record, str(error))
            return
        if self._is_too_long(text, second):
            self._counts.filtered["max_chars"] += 1
            return
        self._examples.append(Example(text, second, answer, language, cells.id(), record.path, record.line))

    def _is_too_long(self, text: str | tuple[str, ...], second: str | None) -> bool:
        whole = text if isinstance(text, str) else " ".join(text)
        return self._max_chars is not None and max(len(whole), len(second or "")) > self._max_chars

    def _bad(self, record: Record | BadRecord, problem: str) -> None:
        self._counts.bad += 1
        place = f"{record.path}:{record.line}: {shortened(problem)}"
        if self._on_error == "stop":
            raise DataError(f"{place}. Correct it, or use data.on_error=skip to count and skip such rows")
        if len(self._counts.bad_examples) < MAX_EXAMPLES:
            self._counts.bad_examples.append(place)

    def finish(self, names: str) -> tuple[list[Example], ReadCounts]:
        """Close the counts; `names` says in the message what was read."""
        counts = self._counts
        counts.kept = len(self._examples)
        by_language = Counter(one.language for one in self._examples)
        for language in self.options.languages or ():
            by_language.setdefault(language, 0)
        counts.kept_by_language = dict(sorted(by_language.items()))
        if not counts.kept:
            raise DataError(f"{names}: no example is left to use. {self._why_none()}")
        return self._examples, counts

    def _why_none(self) -> str:
        counts = self._counts
        why = ", ".join(f"{reason} {count}" for reason, count in counts.filtered.most_common()) or "none"
        text = f"{counts.read} read, {counts.bad} bad; filtered: {why}"
        if self._other_languages:
            most = self._other_languages.most_common(MAX_EXAMPLES)
            there = ", ".join(f"{language} {count}" for language, count in most)
            text += f"; asked for {', '.join(self.options.languages or ())}, found {there}"
        if counts.bad_examples:
            text += f"; the first bad row: {counts.bad_examples[0]}"
        return text


def _texts(cells: Cells, *, shape: Shape, answers: Answers) -> tuple[str | tuple[str, ...], str | None]:
    if shape == "tokens" and answers == "none" and not cells.has("tokens") and cells.has("text"):
        return cells.words_of_text(), None
    return cells.texts(shape)
