"""Turns files of any format into rows of parallel text, with a count of everything that did not become one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from mlembed.data.filters import RowFilter
from mlembed.data.languages import WantedLanguages
from mlembed.data.readers import ReadOptions, open_source
from mlembed.data.readers.hub import read_hub
from mlembed.data.records import BadRecord, Record, Row, shortened
from mlembed.errors import ConfigError, DataError, MlembedError

OnError = Literal["stop", "skip"]
# Takes source, target, language, path and line of a row that is kept.
Sink = Callable[[str, str, str, str, int], None]
# Takes the name of a file, and why it cannot be read.
OnUnreadable = Callable[[str, MlembedError], None]

STANDARD_COLUMNS: Mapping[str, str] = {"source": "source", "target": "target", "lang": "lang"}
MAX_EXAMPLES = 20


@dataclass(slots=True)
class ReadCounts:
    """What became of the entries of the files: read = bad + filtered + kept.

    Args:
        read: entries found, each row of a table and each translation of a message.
        bad: entries that could not be read.
        bad_examples: the first MAX_EXAMPLES of them, as "file:line: problem".
        filtered: reason (a key of `filters.REASONS`) -> entries dropped for it.
        kept: rows that are used.
        kept_by_language: language -> rows, sorted by language; wanted languages without rows are there with 0.
    """

    read: int = 0
    bad: int = 0
    bad_examples: list[str] = field(default_factory=list)
    filtered: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    kept_by_language: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str, by_language: Mapping[str, int]) -> None:
        """Count rows that were kept first, and dropped when all rows were known."""
        for language, count in by_language.items():
            self.kept -= count
            self.kept_by_language[language] -= count
            self.filtered[reason] += count

    def skip(self, reason: str, count: int) -> None:
        """Count entries that a reader passed over."""
        self.read += count
        self.filtered[reason] += count


@dataclass(frozen=True, slots=True)
class ParallelRows:
    """Rows in the order of the files (none where a sink took them), and what was counted on the way."""

    rows: list[Row]
    counts: ReadCounts


def read_parallel(
    paths: Sequence[str],
    *,
    options: ReadOptions,
    columns: Mapping[str, str] = STANDARD_COLUMNS,
    on_error: OnError = "stop",
    filters: RowFilter = RowFilter(),  # noqa: B008 - it is frozen
    sink: Sink | None = None,
    on_unreadable: OnUnreadable | None = None,
) -> ParallelRows:
    """Read parallel text from files.

    Args:
        paths: files, folders, Moses stems, `package:` and `hub:` names; of any format that `readers.FORMATS` knows.
        options: source and target languages. `filters.languages` is the same restriction; where both are given it
            is the one that counts.
        columns: the files' own names of the columns `source`, `target` and `lang` (data.columns); a missing key is
            its own name. Does not concern formats without named columns.
        on_error: "stop" raises at the first bad row, "skip" counts it and goes on.
        filters: which rows are kept.
        sink: takes the rows one by one, so that they need not be in memory; None: they are returned.
        on_unreadable: hears why a file cannot be read, and the next one is read; None: that ends the reading.

    Returns:
        Rows, and counts. Languages are spelled as `languages` has them, or else as the file does. White space around
        the texts is removed.

    Raises:
        DataError: a file cannot be read, a bad row was found and `on_error` is "stop", or no row is left.
        ConfigError: a `package:` or `hub:` name is not found.
    """
    collector = _Collector(options, on_error=on_error, filters=filters, sink=sink)
    for name in paths:
        try:
            source = open_source(name, collector.options)
            collector.add(source.records(), columns=STANDARD_COLUMNS if source.is_bitext else columns)
        except (DataError, ConfigError) as error:
            # That of a bad row, which is to stop all, is meant for whoever called.
            if on_unreadable is None or on_error == "stop":
                raise
            on_unreadable(name, error)
    return collector.finish(", ".join(paths))


def read_parallel_hub(
    name: str,
    *,
    subsets: Sequence[str | None],
    split: str,
    options: ReadOptions,
    columns: Mapping[str, str] = STANDARD_COLUMNS,
    on_error: OnError = "stop",
    filters: RowFilter = RowFilter(),  # noqa: B008 - it is frozen
    sink: Sink | None = None,
) -> ParallelRows:
    """Read parallel text through `datasets`; arguments and errors as in `read_parallel` and `readers.hub.read_hub`.

    Args:
        name: a data set of the hub, or a local folder.
        subsets: its configurations ("en-de"); an empty sequence stands for its only one.
        split: the split of each.
        options: see `read_parallel`.
        columns: see `read_parallel`; a `translation` column needs none.
        on_error: see `read_parallel`.
        filters: see `read_parallel`.
        sink: see `read_parallel`.

    Returns:
        Rows, and counts.

    Raises:
        ConfigError: the data set, subset or split is not found, or the hub cannot be reached.
        DataError: see `read_parallel`.
    """
    collector = _Collector(options, on_error=on_error, filters=filters, sink=sink)
    for subset in subsets or (None,):
        collector.add(read_hub(name, collector.options, subset=subset, split=split), columns=columns)
    return collector.finish(name)


class _Collector:
    """Checks and filters records one after the other, and keeps rows and counts."""

    def __init__(
        self,
        options: ReadOptions,
        *,
        on_error: OnError,
        filters: RowFilter,
        sink: Sink | None,
    ) -> None:
        self._counts = ReadCounts()
        languages = options.languages if filters.languages is None else filters.languages
        self.options = replace(options, languages=languages, on_skip=self._counts.skip)
        self._wanted = WantedLanguages(languages)
        self._judge = replace(filters, languages=languages).start()
        self._where = filters.where
        self._on_error = on_error
        self._rows: list[Row] = []
        self._sink = sink or self._keep
        self._kept_by_language: Counter[str] = Counter()
        # One string object for each distinct source: many rows share it, one for each language.
        self._sources: dict[str, str] = {}
        self._other_languages: Counter[str] = Counter()

    def add(self, records: Iterator[Record | BadRecord], *, columns: Mapping[str, str]) -> None:
        """Take in the records of one file, whose columns go by the names in `columns`."""
        names = {**STANDARD_COLUMNS, **columns}
        counts, judge, exact = self._counts, self._judge, self._wanted.exact
        sink, filtered, where = self._sink, self._counts.filtered, self._where
        for record in records:
            counts.read += 1
            if isinstance(record, Record) and not where.keeps(record.values):
                filtered["where"] += 1
                continue
            texts = None if isinstance(record, BadRecord) else _texts(record.values, names)
            if texts is None:
                self._bad(record, names)
                continue
            source, target, code = texts
            code = code or self._only_language()
            if code is None:
                self._bad(record, names)
                continue
            language = exact(code) or code
            reason = judge(source, target, language)
            if reason is None:
                sink(source, target, language, record.path, record.line)
                self._kept_by_language[language] += 1
            else:
                filtered[reason] += 1
                if reason == "language":
                    self._other_languages[language] += 1

    def _keep(self, source: str, target: str, language: str, path: str, line: int) -> None:
        self._rows.append(Row(self._sources.setdefault(source, source), target, language, path, line))

    def finish(self, names: str) -> ParallelRows:
        """Close the counts; `names` says in the message what was read."""
        counts = self._counts
        counts.kept = self._kept_by_language.total()
        for language in self.options.languages or ():
            self._kept_by_language.setdefault(language, 0)
        counts.kept_by_language = dict(sorted(self._kept_by_language.items()))
        if not counts.kept:
            raise DataError(f"{names}: no row is left to use. {self._why_none()}")
        return ParallelRows(self._rows, counts)

    def _only_language(self) -> str | None:
        languages = self.options.languages or ()
        return languages[0] if len(languages) == 1 else None

    def _bad(self, record: Record | BadRecord, names: Mapping[str, str]) -> None:
        counts = self._counts
        counts.bad += 1
        if self._on_error == "skip" and len(counts.bad_examples) >= MAX_EXAMPLES:
            return
        problem = record.problem if isinstance(record, BadRecord) else _problem(record.values, names)
        example = f"{record.path}:{record.line}: {shortened(problem)}"
        if self._on_error == "stop":
            raise DataError(f"{example}. Correct it, or use data.on_error=skip to count and skip such rows")
        counts.bad_examples.append(example)

    def _why_none(self) -> str:
        counts = self._counts
        why = [f"{reason} {count}" for reason, count in counts.filtered.most_common()]
        text = f"{counts.read} read, {counts.bad} bad; filtered: {', '.join(why) or 'none'}"
        if self._other_languages:
            most = self._other_languages.most_common(MAX_EXAMPLES)
            there = ", ".join(f"{language} {count}" for language, count in most)
            asked = ", ".join(self.options.languages or ())
            text += f"; asked for {asked}, found {there}"
        if counts.bad_examples:
            text += f"; the first bad row: {counts.bad_examples[0]}"
        return text


def _texts(values: Mapping[str, object], names: Mapping[str, str]) -> tuple[str, str, str | None] | None:
    """Return source, target and language code (None without that column); None where the record does not have them."""
    try:
        source, target = values[names["source"]], values[names["target"]]
    except KeyError:
        return None
    code = values.get(names["lang"])
    if code is None and names["lang"] not in values:
        code_text = None
    elif isinstance(code, str) and code.strip():
        code_text = code.strip()
    else:
        return None
    # JSON and Parquet have a null where a table has an empty text.
    source = "" if source is None else source
    target = "" if target is None else target
    if not isinstance(source, str) or not isinstance(target, str):
        return None
    return source.strip(), target.strip(), code_text


def _problem(values: Mapping[str, object], names: Mapping[str, str]) -> str:
    """Say why a record gives no row."""
    there = ", ".join(values) or "none"
    for key in ("source", "target"):
        column = names[key]
        if column not in values:
            advice = f"name the right one with data.columns.{key}=NAME"
            return f"no column '{column}' for the {key}; the columns here are: {there}; {advice}"
        value = values[column]
        if value is not None and not isinstance(value, str):
            return f"the column '{column}' holds {value!r} ({type(value).__name__}) where a text is expected"
    column = names["lang"]
    if column not in values:
        advice = "give exactly one language (data.languages=[de]), or the right column (data.columns.lang=NAME)"
        return f"no column '{column}' that tells the language; the columns here are: {there}; {advice}"
    return f"the column '{column}' holds {values[column]!r} where a language code is expected"
