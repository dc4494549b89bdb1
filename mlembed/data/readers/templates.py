"""Sentence templates in the notation of Home Assistant (hassil), and the sentences that they stand for."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Far beyond what people write; a file that goes beyond them would use up memory or time.
MOST_SENTENCES = 2**200
LONGEST_SENTENCE = 2_000
MOST_PERMUTED = 6

_TOKEN = re.compile(r"\\(.)|([()\[\]|;])|<([^<>]*)>|\{([^{}]*)\}|([^\\()\[\]|;<>{}]+)", re.DOTALL)
_CLOSING = {"(": ")", "[": "]"}


class BadTemplate(ValueError):
    """A template that cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Template:
    """A part of a template.

    Args:
        count: how many ways there are to say it without a slot; 0 for a slot.
        longest: an upper bound of its length in characters.
        parts: what it is made of.
        kind: "text", "sequence", "choice" or "orders" (all orders of the parts).
        text: of the kind "text".
    """

    count: int
    longest: int
    parts: tuple[Template, ...] = ()
    kind: str = "text"
    text: str = ""

    def sentence(self, number: int) -> str:
        """The way with a number from 0 to `count - 1`."""
        if self.kind == "text":
            return self.text
        if self.kind == "choice":
            for part in self.parts:
                if number < part.count:
                    return part.sentence(number)
                number -= part.count
            raise IndexError(number)
        said = []
        for part in self.parts:
            number, way = divmod(number, part.count)
            said.append(part.sentence(way))
        if self.kind == "sequence":
            return "".join(said)
        return " ".join(next(itertools.islice(itertools.permutations(said), number, None)))


NOTHING = Template(1, 0)
SLOT = Template(0, 0)


def parse_template(text: str, rules: Rules) -> Template:
    """Parse a template: `(a|b)` one of several, `[a]` or nothing, `(a;b)` in any order, `<rule>`, `{slot}`.

    Args:
        text: the template.
        rules: what `<name>` stands for.

    Raises:
        BadTemplate: a bracket is not closed, a rule is unknown or refers to itself, or it is too large.
    """
    tokens = list(_TOKEN.finditer(text))
    if sum(len(token[0]) for token in tokens) != len(text):
        raise BadTemplate(f"a bracket is not closed in {text!r}")
    try:
        template, end = _alternatives(tokens, 0, rules)
    except RecursionError as error:
        raise BadTemplate(f"brackets or rules are nested too deeply in {text[:200]!r}") from error
    if end != len(tokens):
        raise BadTemplate(f"a bracket is closed that was not opened in {text!r}")
    return template


def chosen_sentences(template: Template, *, most: int, key: str) -> list[str]:
    """Different sentences of a template: all of them, or as many as are wanted, drawn by a hash.

    Args:
        template: the template.
        most: the greatest number of sentences.
        key: another key draws others.
    """
    numbers: Sequence[int] = range(template.count)
    if template.count > most:
        drawn: dict[int, None] = {}
        for draw in itertools.count():
            digest = hashlib.blake2b(f"{draw} {key}".encode(), digest_size=32).digest()
            drawn[int.from_bytes(digest, "little") % template.count] = None
            if len(drawn) == most:
                break
        numbers = list(drawn)
    sentences = (" ".join(template.sentence(number).split()) for number in numbers)
    return [sentence for sentence in dict.fromkeys(sentences) if sentence]


class Rules:
    """What `<name>` stands for; each rule is parsed once, when it is needed.

    Args:
        texts: name -> template.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._parsed: dict[str, Template] = {}
        self._open: list[str] = []

    def __getitem__(self, name: str) -> Template:
        if name not in self._parsed:
            if name not in self._texts:
                raise BadTemplate(f"the rule <{name}> is not in the file")
            if name in self._open:
                raise BadTemplate(f"the rule <{name}> refers to itself ({' > '.join([*self._open, name])})")
            self._open.append(name)
            try:
                self._parsed[name] = parse_template(self._texts[name], self)
            finally:
                self._open.pop()
        return self._parsed[name]


def _alternatives(tokens: Sequence[re.Match[str]], at: int, rules: Rules) -> tuple[Template, int]:
    """Parse up to a closing bracket or the end; what stands there is not taken."""
    options: list[Template] = []
    sequence: list[Template] = []
    separators = set()
    while at < len(tokens) and tokens[at][0] not in (")", "]"):
        token = tokens[at]
        if token[0] in ("|", ";"):
            separators.add(token[0])
            options.append(_sequence(sequence))
            sequence = []
        elif token[0] in _CLOSING:
            inner, at = _alternatives(tokens, at + 1, rules)
            if at == len(tokens) or tokens[at][0] != _CLOSING[token[0]]:
                raise BadTemplate(f"the bracket {token[0]} is not closed in {token.string!r}")
            sequence.append(inner if token[0] == "(" else _choice([inner, NOTHING]))
        elif token[3] is not None:
            sequence.append(rules[token[3].partition(":")[0].strip()])
        elif token[4] is not None:
            sequence.append(SLOT)
        else:
            text = token[1] or token[0]
            sequence.append(Template(1, len(text), text=text))
        at += 1
    options.append(_sequence(sequence))
    if len(separators) > 1:
        raise BadTemplate(f"| and ; stand beside each other in {tokens[0].string!r}")
    return (_orders(options) if ";" in separators else _choice(options)), at


def _sequence(parts: Sequence[Template]) -> Template:
    if len(parts) == 1:
        return parts[0]
    count = math.prod(part.count for part in parts)
    return _checked(Template(count, sum(part.longest for part in parts), tuple(parts), "sequence"))


def _choice(parts: Sequence[Template]) -> Template:
    if len(parts) == 1:
        return parts[0]
    count = sum(part.count for part in parts)
    return _checked(Template(count, max(part.longest for part in parts), tuple(parts), "choice"))


def _orders(parts: Sequence[Template]) -> Template:
    if len(parts) > MOST_PERMUTED:
        raise BadTemplate(f"more than {MOST_PERMUTED} parts in any order")
    count = math.factorial(len(parts)) * math.prod(part.count for part in parts)
    longest = sum(part.longest + 1 for part in parts)
    return _checked(Template(count, longest, tuple(parts), "orders"))


def _checked(template: Template) -> Template:
    if template.count > MOST_SENTENCES or template.longest > LONGEST_SENTENCE:
        raise BadTemplate(
            f"it stands for too many or too long sentences (at most 2^{MOST_SENTENCES.bit_length() - 1} sentences of "
            f"{LONGEST_SENTENCE} characters)"
        )
    return template
