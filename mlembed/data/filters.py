"""Decides which pairs of texts are used, and names the reason where one is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mlembed.data.languages import WantedLanguages
from mlembed.data.where import Where

# Every reason for which an entry of a file becomes no row: name in the counts -> explanation. The first group is
# given by RowFilter (and named like its fields), the second by the readers, the third where there are labels.
REASONS: dict[str, str] = {
    "where": "a column has another value than data.where asks for",
    "empty": "source or translation is empty",
    "language": "in a language that is not wanted",
    "min_words": "source of too few words",
    "max_chars": "source or translation too long",
    "drop_identical": "translation is the same as the source",
    "drop_markup": "source or translation holds tags or placeholders",
    "drop_duplicates": "seen before with the same translation",
    "untranslated": "no translation",
    "fuzzy": "translation marked as unsure (fuzzy)",
    "obsolete": "message no longer in use",
    "identifier": "message id that stands for no text",
    "no_source": "no text in the source language",
    "blank_line": "blank line",
    "slots": "template that cannot be said without a name or a number",
    "unseen_label": "label that the training data do not have",
    "labelled_languages": "in a language whose labels are not learnt from",
    "few_shot": "more labelled rows of a language than data.few_shot asks for",
    "repeated": "seen before with the same answer",
    "held_out": "text that is in the validation or test set",
}

_MARKUP = re.compile(
    r"<[A-Za-z/!?][^<>]*>"  # HTML and XML tags
    r"|&(?:[A-Za-z]{2,8}|#\d{1,6}|#x[0-9A-Fa-f]{1,6});"  # character entities
    r"|\$(?:\{[^{}]*\}|[A-Za-z_])"  # ${name} $name
    r"|\{[^{}]*\}"  # {0} {name} {{name}}
    r"|%(?:\(\w+\)|\d+\$)?[-+0#]*\d*(?:\.\d+)?[sdifrxXu@](?![A-Za-z])"  # %s %(name)d %1$s %.2f
)


def has_markup(text: str) -> bool:
    """Say whether a text holds tags, entities or placeholders, which are no language."""
    return _MARKUP.search(text) is not None


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which rows are kept. A row whose source or target is empty never is.

    Args:
        languages: codes of the wanted languages; None keeps every language.
        min_words: least number of words, parted by white space, of the source. The translation is not counted: many
            scripts have no spaces. 0 keeps all.
        max_chars: most characters that source and target may each have; None keeps all.
        drop_identical: drop rows whose target is the source (not translated).
        drop_markup: drop rows with tags, entities or placeholders (`<b>`, `&nbsp;`, `${name}`, `%(x)s`, `{0}`, `%s`).
        drop_duplicates: drop rows whose source, target and language were seen before.
        where: the values that columns must have.
    """

    languages: tuple[str, ...] | None = None
    min_words: int = 0
    max_chars: int | None = None
    drop_identical: bool = False
    drop_markup: bool = False
    drop_duplicates: bool = False
    where: Where = Where()  # noqa: RUF009 - it is frozen

    def start(self) -> Callable[[str, str, str], str | None]:
        """Return a judge of (source, target, language) for one pass over the data; it remembers what it has seen.

        Returns:
            A function that gives the reason (a key of REASONS) to drop the pair, or None to keep it.
        """
        wanted = WantedLanguages(self.languages)
        min_words, max_chars = self.min_words, self.max_chars
        drop_identical, drop_markup = self.drop_identical, self.drop_markup
        seen: set[tuple[str, str, str]] | None = set() if self.drop_duplicates else None

        def judge(source: str, target: str, language: str) -> str | None:
            if not source or not target:
                return "empty"
            if wanted.exact(language) is None:
                return "language"
            if min_words and len(source.split()) < min_words:
                return "min_words"
            if max_chars is not None and (len(source) > max_chars or len(target) > max_chars):
                return "max_chars"
            if drop_identical and source == target:
                return "drop_identical"
            if drop_markup and (has_markup(source) or has_markup(target)):
                return "drop_markup"
            if seen is not None:
                before = len(seen)
                seen.add((source, target, language))
                if len(seen) == before:
                    return "drop_duplicates"
            return None

        return judge
