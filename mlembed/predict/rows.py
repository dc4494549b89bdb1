"""What a model with a head reads of the rows of a file: a text, a pair of texts, or words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from mlembed.data.records import BadRecord, Record
from mlembed.data.texts import DEFAULT_COLUMN
from mlembed.data.words import split_words
from mlembed.errors import DataError

SECOND_COLUMN, WORDS_COLUMN = "text_b", "tokens"
# What files of sentence similarity (STS) call the two texts of a pair.
STS_COLUMNS = ("sentence1", "sentence2")


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Args:
        text: the text; where words are given, these with single spaces between them.
        second: the second text of a pair; None where there are no pairs.
        words: (word, start, end): where it stands in the text; none where words do not matter.
        has_words: whether the words were given.
        values: all columns.
        place: `file:line`, for messages.
    """

    text: str
    second: str | None
    words: tuple[tuple[str, int, int], ...]
    has_words: bool
    values: Mapping[str, object]
    place: str


class BadRow(ValueError):
    """A row that cannot be used; the message says why."""


class Columns:
    """Which columns are read; the first row decides whether there are pairs.

    Args:
        of: `words`: each of the words is answered for; `text`: a text or a pair of them.
        first: the column of the text; None: `text`, for words `tokens` where there is one.
        second: the column of the second text; None: `text_b` where there is one; empty: there are no pairs.
    """

    def __init__(self, *, of: str, first: str | None, second: str | None) -> None:
        self.of, self.first, self.second = of, first, second
        self._pair: tuple[str, str | None] | None = None

    def row(self, record: Record) -> Row:
        """Read a row.

        Raises:
            BadRow: a column is missing, or holds something else.
        """
        values, place = record.values, f"{record.path}:{record.line}"
        if self.of == "words":
            text, words, has_words = self._words(values)
            return Row(text, None, words, has_words, values, place)
        first, second = self._pair or self._find_pair(values)
        if self._pair is not None and second is None and self.second is None and SECOND_COLUMN in values:
            raise BadRow(f"there is a column '{SECOND_COLUMN}', but the first row has none; all rows must be alike")
        row = Row(_text(values, first), None if second is None else _text(values, second), (), False, values, place)
        self._pair = first, second
        return row

    def _find_pair(self, values: Mapping[str, object]) -> tuple[str, str | None]:
        first, second = self.first or DEFAULT_COLUMN, self.second or None
        if self.first is None and self.second is None and first not in values:
            if all(name in values for name in STS_COLUMNS):
                return STS_COLUMNS
        elif self.second is None and SECOND_COLUMN in values and first != SECOND_COLUMN:
            second = SECOND_COLUMN
        return first, second

    def _words(self, values: Mapping[str, object]) -> tuple[str, tuple[tuple[str, int, int], ...], bool]:
        column = self.first or (WORDS_COLUMN if WORDS_COLUMN in values else DEFAULT_COLUMN)
        value = values.get(column)
        if isinstance(value, str) and column == WORDS_COLUMN:
            # A table has them in one cell.
            value = value.strip().split(" ") if value.strip() else []
        if not isinstance(value, list):
            text = _text(values, column)
            return text, tuple(split_words(text)), False
        words: list[tuple[str, int, int]] = []
        start = 0
        for number, word in enumerate(value, 1):
            if not isinstance(word, str) or not word.strip():
                raise BadRow(f"number {number} of the column '{column}' is {word!r}, which is not a word")
            words.append((word, start, start + len(word)))
            start += len(word) + 1
        return " ".join(value), tuple(words), True


def read_rows(
    records: Iterable[Record | BadRecord], columns: Columns, *, on_bad: Callable[[str], None] | None
) -> Iterator[Row]:
    """Read rows one after another.

    Args:
        records: of a file.
        columns: which columns are read.
        on_bad: called with `file:line: problem` of a row that cannot be used, which is left out; None: it ends all.

    Raises:
        DataError: such a row, where it ends all.
    """
    for record in records:
        try:
            if isinstance(record, BadRecord):
                raise BadRow(record.problem)
            row = columns.row(record)
        except BadRow as error:
            problem = f"{record.path}:{record.line}: {error}"
            if on_bad is None:
                advice = "correct it, or leave such rows out with --on-error skip"
                raise DataError(f"{problem}; {advice}") from error
            on_bad(problem)
        else:
            yield row


def _text(values: Mapping[str, object], column: str) -> str:
    if column not in values:
        there = ", ".join(values) or "none"
        raise BadRow(f"no column {column!r}; the columns here are: {there}; name one with --column")
    value = values[column]
    if not isinstance(value, str):
        raise BadRow(f"the column {column!r} holds {value!r} ({type(value).__name__}) where a text is expected")
    return value
