"""What lies behind a report beside its scores, for its page: similarity of languages, a map of sentences, hard rows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlembed.errors import DataError

FORMAT = "mlembed-details/1"
# A text on the page; a row of a test set may be a document.
MOST_CHARACTERS = 240


@dataclass(frozen=True)
class Details:
    """What `details.json` holds; every part is optional, and a page shows what is there.

    Args:
        source_language: what other languages are compared with; None: not known.
        sentences: the sentences of the map: `sentence` (a number that translations share), `language`, `text`.
        systems: system -> `similarity` (of `language_similarity`) and `map`, a place x, y for each of the sentences.
        hard_rows: rows that the last system finds hardest, as JSON values; see `hard_rows`.
    """

    source_language: str | None = None
    sentences: tuple[Mapping[str, Any], ...] = ()
    systems: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hard_rows: tuple[Mapping[str, Any], ...] = ()

    def similarities(self) -> dict[str, Mapping[str, Any]]:
        """System -> its similarity of languages, where it has one."""
        return {name: one["similarity"] for name, one in self.systems.items() if one.get("similarity")}

    def maps(self) -> dict[str, list[list[float]]]:
        """System -> the places of the sentences, where it has them."""
        return {name: one["map"] for name, one in self.systems.items() if one.get("map")}

    def with_system(self, name: str, content: Mapping[str, Any]) -> Details:
        """Return these details with a system more, or with new ones of a system that is there."""
        systems = {**{key: one for key, one in self.systems.items() if key != name}, name: content}
        return Details(self.source_language, self.sentences, systems, self.hard_rows)

    def to_json(self) -> str:
        """Return the details as JSON text, a line for each part, so that it stays readable and small."""
        document = {
            "format": FORMAT,
            "source_language": self.source_language,
            "sentences": list(self.sentences),
            "systems": dict(self.systems),
            "hard_rows": list(self.hard_rows),
        }
        lines = [
            f"{json.dumps(key)}: {json.dumps(part, ensure_ascii=False, allow_nan=False)}"
            for key, part in document.items()
        ]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Details:
        """Return the details that `to_json` wrote.

        Raises:
            DataError: not JSON, another format, or a part is of the wrong kind.
        """
        try:
            document = json.loads(text)
            if not isinstance(document, dict) or document.get("format") != FORMAT:
                raise DataError(f'Not details of this version ("format": "{FORMAT}").')
            return cls(
                source_language=document["source_language"],
                sentences=tuple(document["sentences"]),
                systems=dict(document["systems"]),
                hard_rows=tuple(document["hard_rows"]),
            )
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"The details are damaged: {error!r}.") from error


def short(text: str) -> str:
    """Return a text of at most 240 characters, without control characters."""
    plain = "".join(one if one.isprintable() else " " for one in text)
    return plain if len(plain) <= MOST_CHARACTERS else f"{plain[: MOST_CHARACTERS - 1]}…"


def rounded(value: float, digits: int = 4) -> float | None:
    """Return a number as it is kept: with few digits, and None where it is not defined."""
    return round(float(value), digits) if math.isfinite(value) else None
