"""Splits a text into words, for the tagging of texts that nobody has split before."""

from __future__ import annotations

import itertools
import re
import unicodedata

# `\w` leaves out combining marks, such as the vowel signs of Devanagari and Thai: they would be cut from their letters.
# The same goes for the joiners of Persian and of Indic scripts. There are no marks of living scripts in other ranges.
_MARKS = "".join(
    character
    for character in map(chr, itertools.chain(range(0x300, 0x2100), range(0xA000, 0xAC00)))
    if unicodedata.category(character).startswith("M")
)
_WORD = re.compile(f"[\\w\u200c\u200d{re.escape(_MARKS)}]+|[^\\w\\s]")


def split_words(text: str) -> list[tuple[str, int, int]]:
    """Words of a text, and where they stand in it: `text[start:end] == word`.

    White space parts words, and each punctuation mark is one of its own. A script without spaces stays in one piece
    up to the next punctuation mark.

    Args:
        text: any text.

    Returns:
        (word, start, end) in the order of the text.
    """
    return [(match[0], match.start(), match.end()) for match in _WORD.finditer(text)]
