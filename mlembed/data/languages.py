"""Compares language codes: "pt-BR", "pt_BR" and "PT_br" are one language, "pt" is another."""

from __future__ import annotations

import re
from collections.abc import Iterable


def canonical(code: str) -> str:
    """Return the form in which language codes are compared: lower case, "-" between the subtags."""
    return code.strip().replace("_", "-").casefold()


def primary_subtag(code: str) -> str:
    """Return the language without region, script or variant: "en" for "en-US", "sr" for "sr@latin"."""
    return re.split(r"[-@.]", canonical(code), maxsplit=1)[0]


class WantedLanguages:
    """The languages that a user asked for, in the user's spelling.

    Args:
        codes: language codes; None wants every language.
    """

    def __init__(self, codes: Iterable[str] | None) -> None:
        self._spelling = None if codes is None else {canonical(code): code for code in codes}

    def exact(self, code: str) -> str | None:
        """Return how the user spells this language, or None where it is not wanted."""
        if self._spelling is None:
            return code
        return self._spelling.get(canonical(code))

    def nearest(self, code: str) -> str | None:
        """Return the exact match, or else a wanted language without region that covers it ("de" for "de-AT")."""
        if self._spelling is None:
            return code
        return self._spelling.get(canonical(code)) or self._spelling.get(primary_subtag(code))
