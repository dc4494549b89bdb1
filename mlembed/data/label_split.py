"""Chooses labelled examples: which are held out, which are left out because of them, and which few are learnt from."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence

from mlembed.data.examples import Example
from mlembed.data.languages import WantedLanguages, canonical
from mlembed.data.split import normalized_source
from mlembed.data.tags import OUTSIDE
from mlembed.errors import ConfigError

# Of a language that is trained on, at most one row in so many is held out.
ROWS_FOR_ONE = 3
_Stratum = tuple[str, str]


def normalized_text(example: Example) -> str:
    """What two examples share that a reader would call the same: of the text, the words, or both texts of a pair."""
    # A text of punctuation alone has nothing left, and is not the same as any other such text.
    return "\n".join(normalized_source(text) or text for text in example.texts)


def labelled_in(examples: Iterable[Example], languages: Collection[str] | None) -> tuple[list[Example], Counter[str]]:
    """Leave out examples in languages whose labels are not learnt from.

    Args:
        examples: training data.
        languages: data.labelled_languages; None keeps all.

    Returns:
        The others, and how many were left out of each language (`labelled_languages` in the counts).

    Raises:
        ConfigError: none of the languages is there.
    """
    wanted = WantedLanguages(languages)
    examples = list(examples)
    kept = [one for one in examples if wanted.exact(one.language) is not None]
    if examples and not kept:
        found = ", ".join(sorted({one.language for one in examples}))
        asked = ", ".join(languages or ())
        raise ConfigError(
            f"data.labelled_languages=[{asked}]: no training row is in such a language; those that are there: {found}"
        )
    return kept, _left_out(examples, kept)


def drop_repeats(examples: Iterable[Example]) -> tuple[list[Example], Counter[str]]:
    """Keep the first of several examples with the same texts, answer and language.

    Returns:
        The examples, and how many were left out of each language (`repeated` in the counts).
    """
    examples = list(examples)
    seen: set[tuple[object, ...]] = set()
    kept: list[Example] = []
    for one in examples:
        before = len(seen)
        seen.add((one.text, one.second, one.answer, one.language))
        if len(seen) > before:
            kept.append(one)
    return kept, _left_out(examples, kept)


def drop_leaks(train: Iterable[Example], held_out: Iterable[Example]) -> tuple[list[Example], Counter[str]]:
    """Leave out training examples whose text is in a held-out set, in whatever language; see `normalized_text`.

    Returns:
        The others, and how many were left out of each language (`held_out` in the counts).
    """
    forbidden = {normalized_text(one) for one in held_out}
    train = list(train)
    kept = [one for one in train if normalized_text(one) not in forbidden]
    return kept, _left_out(train, kept)


def few_shot(
    examples: Iterable[Example], *, per_label: int, seed: int, source_language: str
) -> tuple[list[Example], Counter[str]]:
    """Keep few labelled examples of each language other than the source language, of which all are kept.

    Args:
        examples: training data.
        per_label: most examples of each label; of all of a language together where there are tags or scores. An
            example with several labels is one of each.
        seed: another one chooses others.
        source_language: the language that keeps all.

    Returns:
        The examples in their order, and how many were left out of each language (`few_shot` in the counts).
    """
    examples = list(examples)
    order = _Order(seed, "few shot")
    taken: Counter[_Stratum] = Counter()
    kept = set()
    for place in sorted(range(len(examples)), key=lambda at: (order.digest(_key(examples[at])), at)):
        one = examples[place]
        strata: list[_Stratum] = []
        if canonical(one.language) != canonical(source_language):
            # Tags, scores and "no label at all" have one stratum for the whole language.
            labels = one.labels if isinstance(one.text, str) else ()
            strata = [(one.language, label) for label in labels or ("",)]
        if all(taken[stratum] < per_label for stratum in strata):
            kept.add(place)
            taken.update(strata)
    few = [one for place, one in enumerate(examples) if place in kept]
    return few, _left_out(examples, few)


def split_off(
    examples: Sequence[Example], *, size: int, seed: int, trained: Collection[str] | None = None, part: str = "test"
) -> tuple[list[Example], list[Example]]:
    """Hold out examples of each language, with labels in the proportions that they have there.

    Examples with one id (translations of each other), or with the same text but for case, punctuation and spacing,
    are held out together or not at all. They are chosen by a hash keyed with the seed of their id or text, so neither
    the order of the rows nor that of the languages matters. Of a language that is trained on, at most a third is held
    out, and at most half of the rows with a label, so that training has each label.

    Args:
        examples: all of them.
        size: examples of each language that are held out; fewer where these rules do not allow more.
        seed: another one holds out others.
        trained: languages that training needs rows of (data.labelled_languages); None: all. Of others, up to `size`
            rows are held out, even if they are all.
        part: what is split off, for messages: "validation" or "test".

    Returns:
        What is left, and what is held out, both in the order of the examples.

    Raises:
        ConfigError: nothing can be held out, or nothing is left.
    """
    choice = _Choice(examples, size=size, trained=WantedLanguages(trained))
    order = _Order(seed, "hold out")
    groups = sorted(_groups(examples), key=lambda places: min(order.digest(_key(examples[at])) for at in places))
    # First in proportion; where groups were too large to fit in, others take their place.
    held_out: set[int] = set()
    for is_exact in (True, False):
        for places in groups:
            if places[0] not in held_out and choice.allows(places, exact=is_exact):
                choice.take(places)
                held_out.update(places)
    left = [one for place, one in enumerate(examples) if place not in held_out]
    if size and not (held_out and left):
        state = "none can be" if not held_out else "all would be"
        raise ConfigError(
            f"data.{part}_size={size}: of {len(examples)} labelled rows {state} held out (at most a third of each "
            f"language that is trained on); name a file with data.{part}=PATH, or give more data"
        )
    return left, [one for place, one in enumerate(examples) if place in held_out]


class _Choice:
    """How many examples of each language and label may still be held out."""

    def __init__(self, examples: Sequence[Example], *, size: int, trained: WantedLanguages) -> None:
        self._strata = _strata_of(examples)
        rows = Counter(language for language, _ in self._strata)
        of_stratum = Counter(self._strata)
        self._wanted: Counter[str] = Counter()
        self._quota: Counter[_Stratum] = Counter()
        self._most: Counter[_Stratum] = Counter()
        for language, count in rows.items():
            is_trained = trained.exact(language) is not None
            wanted = self._wanted[language] = min(size, count // ROWS_FOR_ONE if is_trained else count)
            strata = {stratum: number for stratum, number in of_stratum.items() if stratum[0] == language}
            self._quota.update(_proportional(strata, wanted))
            for stratum, number in strata.items():
                # What has no label (a score, tags that are all O) is not learnt as such.
                self._most[stratum] = number // 2 if is_trained and stratum[1] else number

    def allows(self, places: Sequence[int], *, exact: bool) -> bool:
        """Whether a group fits in; `exact`: in the proportions of the labels, too."""
        strata = Counter(self._strata[place] for place in places)
        languages = Counter(self._strata[place][0] for place in places)
        return (
            all(count <= self._wanted[language] for language, count in languages.items())
            and all(count <= self._most[stratum] for stratum, count in strata.items())
            and (not exact or all(count <= self._quota[stratum] for stratum, count in strata.items()))
        )

    def take(self, places: Sequence[int]) -> None:
        """Hold a group out."""
        for place in places:
            stratum = self._strata[place]
            self._wanted[stratum[0]] -= 1
            self._most[stratum] -= 1
            self._quota[stratum] -= 1


def _proportional(strata: dict[_Stratum, int], wanted: int) -> dict[_Stratum, int]:
    """Distribute a number in proportion, by the largest remainders."""
    total = sum(strata.values())
    shares = {stratum: divmod(wanted * count, total) for stratum, count in strata.items()}
    quota = {stratum: whole for stratum, (whole, _) in shares.items()}
    for stratum in sorted(shares, key=lambda one: (-shares[one][1], one))[: wanted - sum(quota.values())]:
        quota[stratum] += 1
    return quota


def _strata_of(examples: Sequence[Example]) -> list[_Stratum]:
    """Language and label of each example; of several labels, or of tags, the one that is rarest in the language."""
    count: Counter[_Stratum] = Counter()
    labels = [sorted(set(one.labels) - ({OUTSIDE} if isinstance(one.text, tuple) else set())) for one in examples]
    for one, its in zip(examples, labels, strict=True):
        count.update((one.language, label) for label in its)
    return [
        (one.language, min(its, key=lambda label: (count[one.language, label], label), default=""))
        for one, its in zip(examples, labels, strict=True)
    ]


def _groups(examples: Sequence[Example]) -> list[list[int]]:
    """Places of examples that belong together, by id or by text."""
    parent = list(range(len(examples)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first: dict[tuple[str, str], int] = {}
    for place, one in enumerate(examples):
        keys = [("text", normalized_text(one))] + ([("id", one.id)] if one.id is not None else [])
        for key in keys:
            parent[root(place)] = root(first.setdefault(key, place))
    groups: dict[int, list[int]] = defaultdict(list)
    for place in range(len(examples)):
        groups[root(place)].append(place)
    return list(groups.values())


def _key(example: Example) -> str:
    """What an example is ordered by: the same for its translations."""
    return f"id {example.id}" if example.id is not None else f"text {normalized_text(example)}"


class _Order:
    """An order of keys by a keyed hash."""

    def __init__(self, seed: int, purpose: str) -> None:
        self._key = hashlib.blake2b(f"{purpose} {seed}".encode()).digest()

    def digest(self, key: str) -> bytes:
        """The bytes that a key is ordered by."""
        return hashlib.blake2b(key.encode(errors="surrogatepass"), key=self._key, digest_size=16).digest()


def _left_out(examples: Iterable[Example], kept: Iterable[Example]) -> Counter[str]:
    """How many examples of each language are missing."""
    missing = Counter(one.language for one in examples)
    missing.subtract(one.language for one in kept)
    return +missing
