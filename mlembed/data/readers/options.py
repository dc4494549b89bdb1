"""What every reader is told beside the path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _ignore(reason: str, count: int) -> None:
    """Take note of nothing."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read; readers of formats that it does not concern ignore it.

    Args:
        source_language: code of the language that the sources are in; finds the source in Moses files, TMX and
            hub data, and tells gettext which catalogues are no translations.
        languages: codes of the wanted target languages; formats that know the language before they read
            (Moses, gettext) leave the others unread. None reads all.
        on_skip: called with a reason and a number of entries whenever a reader passes over entries that hold no
            pair of texts (an untranslated message, a blank line), so that nothing is dropped in silence.
    """

    source_language: str = "en"
    languages: tuple[str, ...] | None = None
    on_skip: Callable[[str, int], None] = _ignore
