"""Tags of words: B-NAME begins a name of a kind, I-NAME goes on with it, O is outside of all names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

OUTSIDE = "O"
_BEGIN, _INSIDE = "B-", "I-"


def kind_of(tag: str) -> str | None:
    """The kind of name that a tag is about: "PER" for "B-PER" and "I-PER"; None for "O"."""
    return None if tag == OUTSIDE else tag[2:]


def tag_problem(tag: str) -> str | None:
    """Say why a tag is none of O, B-NAME and I-NAME; None where it is."""
    if tag == OUTSIDE or (tag.startswith((_BEGIN, _INSIDE)) and len(tag) > 2):
        return None
    known = "tags are O, B-NAME for the first word of a name, and I-NAME for its other words (BIO)"
    if tag[:2] in ("E-", "S-", "L-", "U-", "M-"):
        advice = "write S- and U- as B-, and E-, L- and M- as I-"
        return f"the tag {tag!r} is of another scheme (IOBES or BILOU); {known}: {advice}"
    return f"the tag {tag!r} is not known; {known}"


def normalized_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags in which each name begins with B: an I-X that follows neither B-X nor I-X becomes B-X.

    So IOB1, where B stands only between two names of a kind that touch, becomes BIO too.
    """
    normalized = []
    before = OUTSIDE
    for tag in tags:
        if tag.startswith(_INSIDE) and kind_of(before) != kind_of(tag):
            tag = _BEGIN + tag[2:]
        normalized.append(tag)
        before = tag
    return tuple(normalized)


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """The names that tags tell of, as seqeval and conlleval find them.

    A name begins with B, and where the kind changes; so an I after another kind begins one too. The tags of other
    schemes are understood: S and U are whole names, E and L end one. A tag of no scheme goes on with itself, like I.

    Args:
        tags: of the words of a text.

    Returns:
        (kind, number of the first word, number of the last word) in their order.
    """
    found: list[tuple[str, int, int]] = []
    is_open = False
    for place, tag in enumerate(tags):
        if tag == OUTSIDE:
            is_open = False
            continue
        scheme, kind = (tag[0], tag[2:]) if tag[1:2] == "-" and tag[0] in "BIESLUM" and tag[2:] else ("I", tag)
        if is_open and scheme not in "BSU" and found[-1][0] == kind:
            found[-1] = (kind, found[-1][1], place)
        else:
            found.append((kind, place, place))
        is_open = scheme not in "ESLU"
    return found


def all_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """O, and B and I of each kind that occurs, sorted by kind, B before I."""
    kinds = {kind for tag in set(tags) if (kind := kind_of(tag)) is not None}
    return (OUTSIDE, *(start + kind for kind in sorted(kinds) for start in (_BEGIN, _INSIDE)))
