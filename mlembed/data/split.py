"""Chooses the sentences that are held out for validation and test, so that training never sees them in any language."""

from __future__ import annotations

import hashlib
import unicodedata

from mlembed.errors import ConfigError

TRAIN, VALIDATION, TEST = 0, 1, 2


class _Separators(dict[int, int | str]):
    """A table for str.translate: punctuation, white space and control characters become a space."""

    def __missing__(self, code: int) -> int | str:
        self[code] = " " if unicodedata.category(chr(code))[0] in "PZC" else code
        return self[code]


_SEPARATORS = _Separators()


def normalized_source(text: str) -> str:
    """Return what two sentences share that a reader would call the same: NFKC, case, punctuation and spacing aside."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().translate(_SEPARATORS).split())


class HeldOutChoice:
    """Chooses the sources that are held out, from a stream of them, in memory for the chosen ones alone.

    Sources are ordered by a hash keyed with the seed (BLAKE2b) of their normalized text: the first go to the test
    set, the next to validation. So the choice does not depend on the order of the rows, sources that differ in case,
    punctuation or spacing only fall on the same side, and another size of the validation set leaves the test set as
    it is. Sources are not chosen by how many languages they are translated into: a language with few translations
    has few held-out rows.

    Args:
        validation: distinct normalized sources for validation; 0 for none.
        test: distinct normalized sources for the test; 0 for none.
        seed: another seed holds out other sources.

    Raises:
        ConfigError: a count is negative.
    """

    def __init__(self, *, validation: int, test: int, seed: int) -> None:
        self._validation, self._test = validation, test
        self._asked = f"{validation} sources for validation and {test} for the test"
        if validation < 0 or test < 0:
            raise ConfigError(f"cannot hold out {self._asked}: a count is negative")
        self._key = hashlib.blake2b(str(seed).encode()).digest()
        # One more than is held out: by it one sees that something is left for training.
        self._wanted = validation + test + 1
        self._smallest: dict[bytes, str] = {}
        self._limit = b"\xff" * 17

    def digest(self, normalized: str) -> bytes:
        """The 16 bytes by which a normalized source is ordered."""
        return hashlib.blake2b(normalized.encode(), key=self._key, digest_size=16).digest()

    def see(self, normalized: str, digest: bytes) -> None:
        """Take note of a source that may be held out, with its `digest`; it may come again."""
        if digest < self._limit:
            self._smallest[digest] = normalized
            if len(self._smallest) > 2 * self._wanted + 1000:
                self._forget()

    def _forget(self) -> None:
        """Keep the smallest ones, and do not look at larger ones again."""
        kept = sorted(self._smallest)[: self._wanted]
        self._smallest = {digest: self._smallest[digest] for digest in kept}
        self._limit = kept[-1] if len(kept) == self._wanted else self._limit

    def sides(self) -> dict[str, int]:
        """Normalized source -> `TEST` or `VALIDATION`, for all that are held out.

        Raises:
            ConfigError: no source is left for training.
        """
        self._forget()
        chosen = list(self._smallest.values())
        if len(chosen) < self._wanted:
            raise ConfigError(
                f"cannot hold out {self._asked}: there are {len(chosen)} different sources"
                " in all, and training needs some of them; hold out fewer"
                " (data.validation_size, data.test_size), or give more data"
            )
        return dict.fromkeys(chosen[: self._test], TEST) | dict.fromkeys(chosen[self._test : -1], VALIDATION)
