"""A labelled example, a set of them, and the labels that are learnt."""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from mlembed.data.tags import all_tags
from mlembed.errors import DataError
from mlembed.fingerprint import text_fingerprint

Shape = Literal["text", "tokens", "pair"]
Answers = Literal["label", "labels", "tags", "score", "none"]
Answer = str | tuple[str, ...] | float | None

MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Example:
    """A text, or a pair of texts, with what people said of it.

    Args:
        text: the text; for tagging, its words.
        second: the second text of a pair, or None.
        answer: a label; several labels, or a tag for each word; a score; None: it has none.
        language: language code of the texts.
        id: examples with the same one are translations of each other; None: nothing is known.
        path: the file that it comes from.
        line: its line there, from 1.
    """

    text: str | tuple[str, ...]
    second: str | None
    answer: Answer
    language: str
    id: str | None
    path: str
    line: int

    @property
    def place(self) -> str:
        """`file:line`, for messages."""
        return f"{self.path}:{self.line}"

    @property
    def texts(self) -> tuple[str, ...]:
        """Its text, or both texts of a pair; words with a space between them."""
        text = self.text if isinstance(self.text, str) else " ".join(self.text)
        return (text,) if self.second is None else (text, self.second)

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels of the answer, whether it is one, several, or tags; none for a score."""
        if isinstance(self.answer, str):
            return (self.answer,)
        return self.answer if isinstance(self.answer, tuple) else ()


@dataclass(frozen=True)
class ExampleSet:
    """Examples with a name.

    Args:
        name: what reports call it.
        examples: the examples, in order.
    """

    name: str
    examples: Sequence[Example]

    @property
    def languages(self) -> list[str]:
        """The languages that occur, sorted."""
        return sorted(self._positions)

    def by_language(self) -> dict[str, list[int]]:
        """Language, sorted -> positions of its examples."""
        return {language: list(self._positions[language]) for language in self.languages}

    @cached_property
    def _positions(self) -> Mapping[str, Sequence[int]]:
        positions: dict[str, list[int]] = defaultdict(list)
        for position, example in enumerate(self.examples):
            positions[example.language].append(position)
        return positions

    def fingerprint(self) -> str:
        """Hash of the examples and their order, wherever they come from."""
        return text_fingerprint(*((one.text, one.second, one.answer, one.language, one.id) for one in self.examples))


@dataclass(frozen=True)
class LabelSet:
    """The labels that are learnt, each with a number.

    Args:
        names: label -> its number is its place here.
    """

    names: tuple[str, ...]

    @classmethod
    def of(cls, examples: Iterable[Example], *, shape: Shape) -> LabelSet:
        """Labels of training data.

        Args:
            examples: the training data.
            shape: "tokens": the labels are tags: O is number 0, then B and I of each kind, sorted by kind. Both are
                there even if only one occurs: held-out data may have longer names. Otherwise labels are sorted.
        """
        found = {label for one in examples for label in one.labels}
        return cls(all_tags(found) if shape == "tokens" else tuple(sorted(found)))

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    def number(self, name: str) -> int:
        """The number of a label; one that is not there is a mistake of ours (see `check`)."""
        return self._numbers[name]

    def known(self, examples: Iterable[Example]) -> tuple[list[Example], Counter[str]]:
        """Leave out examples with a label that was not learnt.

        Returns:
            The others, and how many were left out of each language (`unseen_label` in the counts).
        """
        kept: list[Example] = []
        left_out: Counter[str] = Counter()
        for one in examples:
            if all(label in self._numbers for label in one.labels):
                kept.append(one)
            else:
                left_out[one.language] += 1
        return kept, left_out

    def check(self, examples: Iterable[Example], *, what: str) -> None:
        """Make sure that all labels were learnt.

        Args:
            examples: held-out data.
            what: what messages call them ("the test set").

        Raises:
            DataError: with each label that is not known, how often it occurs, where first, and what is nearest to it.
        """
        rows: Counter[str] = Counter()
        first: dict[str, str] = {}
        for one in examples:
            for label in dict.fromkeys(one.labels):
                if label not in self._numbers:
                    rows[label] += 1
                    first.setdefault(label, one.place)
        if not rows:
            return
        listed = [self._unseen(label, count, first[label]) for label, count in rows.most_common(MOST_NAMED)]
        if len(rows) > MOST_NAMED:
            listed.append(f"and {len(rows) - MOST_NAMED} more")
        raise DataError(
            f"{next(iter(first.values()))}: {what} has labels that the training data do not have: {'; '.join(listed)}. "
            "Correct them, or use data.on_error=skip to leave such rows out (they are counted as unseen_label)"
        )

    def _unseen(self, label: str, count: int, place: str) -> str:
        near = difflib.get_close_matches(label, self.names, n=1, cutoff=0)
        nearest = f", nearest known label {near[0]!r}" if near else ""
        return f"{label!r} in {count} row{'' if count == 1 else 's'}, first {place}{nearest}"
