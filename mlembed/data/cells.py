"""Takes the cells of a labelled row apart: texts, words, labels, tags, scores."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mlembed.data.examples import Answer, Answers, Shape
from mlembed.data.tags import normalized_tags, tag_problem
from mlembed.data.words import split_words

# The keys of data.columns that labelled data have.
KEYS = ("text", "text_b", "label", "score", "tokens", "tags", "lang", "id")
# What files of sentence similarity (STS) call the two texts of a pair.
_STS = {"text": "sentence1", "text_b": "sentence2"}
_MEANING = {
    "text": "the text",
    "text_b": "the second text",
    "label": "the label",
    "score": "the score",
    "tokens": "the words",
    "tags": "the tags",
}


class BadCell(ValueError):
    """A cell that cannot be used; the message says why."""


class Cells:
    """The cells of one row, by the keys of data.columns.

    Args:
        values: column -> value.
        columns: key -> the file's name for the column; a missing key is its own name.
    """

    def __init__(self, values: Mapping[str, object], columns: Mapping[str, str]) -> None:
        self._values = values
        self._columns = {key: columns.get(key, key) for key in KEYS}
        if not self.has("text") and not self.has("text_b") and all(name in values for name in _STS.values()):
            self._columns |= _STS

    def has(self, key: str) -> bool:
        """Whether the row has this column."""
        return self._columns[key] in self._values

    def texts(self, shape: Shape) -> tuple[str | tuple[str, ...], str | None]:
        """The text, or for "tokens" its words; and the second text of a pair.

        Raises:
            BadCell: a column is missing, or a cell is empty or of another type.
        """
        if shape == "tokens":
            return self._words("tokens"), None
        return self._text("text"), self._text("text_b") if shape == "pair" else None

    def words_of_text(self) -> tuple[str, ...]:
        """The words of a text that nobody has split.

        Raises:
            BadCell: see `texts`.
        """
        return tuple(word for word, _, _ in split_words(self._text("text")))

    def answer(self, answers: Answers, *, words: int, separator: str) -> Answer:
        """What people said of the text.

        Args:
            answers: what kind of answer.
            words: how many words there are to be tagged.
            separator: what parts several labels in a table.

        Raises:
            BadCell: the column is missing, or its cell holds no such answer.
        """
        if answers == "label":
            return self._label(self._cell("label"))
        if answers == "labels":
            return self._labels(separator)
        if answers == "score":
            return self._score()
        return self._tags(words) if answers == "tags" else None

    def language(self) -> str | None:
        """The language code; None without that column.

        Raises:
            BadCell: the cell is empty or no text.
        """
        if not self.has("lang"):
            return None
        value = self._cell("lang")
        if not isinstance(value, str) or not value.strip():
            raise BadCell(f"the column '{self._columns['lang']}' holds {value!r} where a language code is expected")
        return value.strip()

    def id(self) -> str | None:
        """What tells translations of each other; None where there is nothing."""
        value = self._values.get(self._columns["id"])
        return None if value is None else str(value).strip() or None

    def no_language(self) -> str:
        """Say what to do about a file without languages."""
        advice = "give one language alone (data.source_language=de data.languages=[de]), or the right column"
        return (
            f"no column '{self._columns['lang']}' that tells the language; the columns here are: {self._there()}; "
            f"{advice} (data.columns.lang=NAME)"
        )

    def _there(self) -> str:
        return ", ".join(self._values) or "none"

    def _cell(self, key: str) -> object:
        column = self._columns[key]
        if column not in self._values:
            advice = f"name the right one with data.columns.{key}=NAME"
            raise BadCell(f"no column '{column}' for {_MEANING[key]}; the columns here are: {self._there()}; {advice}")
        return self._values[column]

    def _text(self, key: str) -> str:
        value = self._cell(key)
        if isinstance(value, str) and (text := value.strip()):
            return text
        raise BadCell(self._unexpected(key, value, "a text"))

    def _unexpected(self, key: str, value: object, expected: str) -> str:
        column = self._columns[key]
        if value is None or (isinstance(value, str) and not value.strip()):
            return f"the column '{column}' is empty where {expected} is expected"
        return f"the column '{column}' holds {value!r} ({type(value).__name__}) where {expected} is expected"

    def _words(self, key: str) -> tuple[str, ...]:
        value = self._cell(key)
        # A table has them in one cell.
        words = value.strip().split(" ") if isinstance(value, str) and value.strip() else value
        if not isinstance(words, list) or not words:
            raise BadCell(self._unexpected(key, value, "a list of texts, or texts with single spaces between them,"))
        for place, word in enumerate(words, 1):
            if not isinstance(word, str):
                raise BadCell(f"number {place} of the column '{self._columns[key]}' is {word!r}, which is not a text")
            if not word.strip():
                advice = "there is one space between two of them"
                raise BadCell(f"number {place} of the column '{self._columns[key]}' is empty; {advice}")
        return tuple(word.strip() for word in words)

    def _label(self, value: object) -> str:
        # JSON and Parquet may have numbers, which tables have as text.
        if isinstance(value, int):
            return str(value).lower()
        if isinstance(value, str) and (label := value.strip()):
            return label
        raise BadCell(self._unexpected("label", value, "a label"))

    def _labels(self, separator: str) -> tuple[str, ...]:
        value = self._cell("label")
        if isinstance(value, str):
            value = [part for part in value.split(separator) if part.strip()]
        if not isinstance(value, list):
            raise BadCell(self._unexpected("label", value, f"a list of labels, or labels with '{separator}' between,"))
        return tuple(sorted({self._label(label) for label in value}))

    def _tags(self, words: int) -> tuple[str, ...]:
        tags = self._words("tags")
        if len(tags) != words:
            raise BadCell(f"there are {words} words and {len(tags)} tags; each word has one tag")
        for tag in set(tags):
            if problem := tag_problem(tag):
                raise BadCell(problem)
        return normalized_tags(tags)

    def _score(self) -> float:
        value = self._cell("score")
        try:
            score = math.nan if isinstance(value, bool) else float(str(value))
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise BadCell(f"the score {value!r} is not a number")
        return score
