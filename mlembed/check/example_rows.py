"""The labelled rows that are looked at: repeated, held out, in contradiction, in another language."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from mlembed.check.findings import Mark, ShownRow
from mlembed.data.examples import Example
from mlembed.data.label_split import normalized_text


class ExampleRows:
    """Labelled rows, in memory.

    Args:
        examples: the rows.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples
        self.languages: Sequence[str] = sorted({one.language for one in examples})
        number = {language: at for at, language in enumerate(self.languages)}
        self.language_N = np.array([number[one.language] for one in examples], dtype=np.int16)

    def shown(self, numbers: Sequence[int]) -> list[ShownRow]:
        """See `Rows`."""
        return [
            ShownRow(one.path, one.line, one.language, " | ".join(one.texts), _answer(one))
            for one in (self.examples[at] for at in numbers)
        ]


def _answer(example: Example) -> str:
    answer = example.answer
    return " ".join(answer) if isinstance(answer, tuple) else "" if answer is None else str(answer)


def example_marks(examples: Sequence[Example], held_out: Sequence[Example]) -> list[Mark]:
    """Marks of all labelled rows: repeated, in contradiction, and held out too.

    Args:
        examples: rows of data.train.
        held_out: rows of held-out sets that are given.
    """
    first: dict[tuple[object, ...], int] = {}
    first_normal: dict[tuple[object, ...], int] = {}
    answers: dict[tuple[str, str], Counter[object]] = defaultdict(Counter)
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    exact_out = {one.texts for one in held_out}
    normal_out = {normalized_text(one) for one in held_out}
    normal_N = [normalized_text(one) for one in examples]
    for at, (one, normal) in enumerate(zip(examples, normal_N, strict=True)):
        before = first.setdefault((one.text, one.second, one.answer, one.language), at)
        before_normal = first_normal.setdefault((normal, one.answer, one.language), at)
        if before != at:
            found["duplicate"].append((at, f"as {examples[before].place}"))
        elif before_normal != at:
            found["duplicate_normalised"].append((at, f"as {examples[before_normal].place}"))
        if normal in normal_out:
            is_exact = one.texts in exact_out
            spelling = "" if is_exact else ", in other spelling"
            found["leak" if is_exact else "leak_normalised"].append((at, f"the text is in a held-out set{spelling}"))
        answers[one.language, normal][one.answer] += 1
    for at, (one, normal) in enumerate(zip(examples, normal_N, strict=True)):
        said = answers[one.language, normal]
        most, count = said.most_common(1)[0]
        if len(said) > 1 and one.answer != most:
            found["contradiction"].append((at, f"{_shown(one.answer)}; {count} times it is {_shown(most)}"))
    return [_mark(kind, rows, count=len(examples)) for kind, rows in found.items()]


def _shown(answer: object) -> str:
    return " ".join(map(str, answer)) if isinstance(answer, tuple) else repr(answer)


def _mark(kind: str, found: list[tuple[int, str]], *, count: int) -> Mark:
    why: Callable[[int], str] = lambda at: found[at][1]  # noqa: E731 - it is handed on
    return Mark(kind, np.array([at for at, _ in found]), np.ones(len(found)), why, count)
