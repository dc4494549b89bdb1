"""What a look at the data finds: kinds of findings, how severe each is, and the rows that have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

# What `train` does about it: it ends; it trains on what it should not; it leaves the rows out by itself.
Severity = Literal["stops", "warns", "left out"]

# Kind -> what people call it, and what to do about it.
KINDS: Mapping[str, tuple[str, str]] = {
    "unreadable": ("data that cannot be used", "correct what is named here"),
    "bad_row": ("rows that cannot be read", "correct them, or data.on_error=skip leaves them out"),
    "duplicate": ("rows that are there twice", "data.drop_duplicates=true leaves them out"),
    "duplicate_normalised": ("rows that are there twice but for case, punctuation, spaces", "drop one of them"),
    "contradiction": ("texts that have several answers", "decide for one of them"),
    "unseen_label": ("labels that the training data do not have", "correct them, or data.on_error=skip"),
    "leak": ("rows whose source is in a held-out set", "data.drop_leaks=true leaves them out"),
    "leak_normalised": ("the same but for case, punctuation, spaces", "data.drop_leaks=true leaves them out"),
    "leak_target": ("translations that are in a held-out set", "drop them: results are better than they should be"),
    "length": (
        "much longer or shorter than other translations of the language",
        "look whether lines are merged or cut",
    ),
    "wrong_language": ("in another language than said", "correct the language, or drop them"),
    "misaligned": ("source and translation do not say the same", "look whether lines are shifted"),
    "unknown_tokens": ("languages that the student's tokenizer does not know", "another student, or model=transplant"),
    "truncated": ("languages whose texts are cut", "raise model.student.max_length, or cut the texts"),
    "heads": ("heads that do not fit", "take another teacher or student, or other layers at its end"),
    "failed": ("what training would end with", "see the message"),
}
# Of each kind so many rows are written down; all are counted.
MAX_LISTED = 20_000


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row as people are shown it.

    Args:
        file: the file that it comes from.
        line: its line there, from 1.
        language: of the translation, or of the text.
        source: the source, or the text.
        target: the translation, or the answer.
        why: what is wrong with it.
    """

    file: str
    line: int
    language: str
    source: str
    target: str
    why: str = ""


class Rows(Protocol):
    """N rows that are looked at, on disk or in memory."""

    languages: Sequence[str]
    language_N: np.ndarray

    def shown(self, numbers: Sequence[int]) -> list[ShownRow]:
        """Some of them."""
        ...


@dataclass(frozen=True)
class Mark:
    """Rows that have the same fault.

    Args:
        kind: a key of `KINDS`.
        rows_M: their numbers.
        badness_M: how bad each is; the largest are shown first.
        why: says what is wrong with the m-th of them.
        looked_at: how many rows were looked at: all, or a sample.
    """

    kind: str
    rows_M: np.ndarray
    badness_M: np.ndarray
    why: Callable[[int], str]
    looked_at: int


@dataclass(frozen=True)
class Finding:
    """One kind of fault.

    Args:
        kind: a key of `KINDS`.
        severity: what training would do about it.
        count: rows, or other things, that have it.
        looked_at: rows that were looked at; 0 where it is not about rows.
        of: rows that there are.
        by_language: language -> count.
        rows: the rows, the worst first; at most `MAX_LISTED`.
        messages: what else is to be said.
    """

    kind: str
    severity: Severity
    count: int
    looked_at: int = 0
    of: int = 0
    by_language: Mapping[str, int] = field(default_factory=dict)
    rows: Sequence[ShownRow] = ()
    messages: Sequence[str] = ()

    @property
    def title(self) -> str:
        """What people call it."""
        return KINDS[self.kind][0]

    @property
    def advice(self) -> str:
        """What to do about it."""
        return KINDS[self.kind][1]

    @property
    def expected(self) -> int:
        """Rows that have it among all: as many in proportion as in the sample."""
        return round(self.count * self.of / self.looked_at) if self.looked_at else self.count

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "title": self.title, "advice": self.advice, "expected": self.expected}


def finding_of(mark: Mark, rows: Rows, *, severity: Severity) -> Finding:
    """Count the rows of a mark, and show the worst."""
    order_M = np.argsort(-mark.badness_M, kind="stable")[:MAX_LISTED]
    shown = rows.shown(mark.rows_M[order_M].tolist())
    names = Counter(rows.language_N[mark.rows_M].tolist())
    return Finding(
        kind=mark.kind,
        severity=severity,
        count=len(mark.rows_M),
        looked_at=mark.looked_at,
        of=len(rows.language_N),
        by_language={rows.languages[number]: count for number, count in sorted(names.items())},
        rows=[
            ShownRow(one.file, one.line, one.language, one.source, one.target, mark.why(at))
            for one, at in zip(shown, order_M.tolist(), strict=True)
        ],
    )
