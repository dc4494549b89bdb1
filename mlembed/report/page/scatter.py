"""The map of sentences: a panel a system, a color a sentence, a line from each translation to its source."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlembed.report.report import Report
from mlembed.report.systems import system_words

SIDE = 320.0
_EDGE = 16.0


@dataclass(frozen=True)
class Dot:
    """A sentence in a language: its place, its number, the words for a pointer that stays on it."""

    x: float
    y: float
    sentence: int
    is_source: bool
    title: str


@dataclass(frozen=True)
class Panel:
    """A system: its sentences, and the lines (x1, y1, x2, y2, sentence) from translations to their source."""

    title: str
    dots: list[Dot]
    lines: list[tuple[float, float, float, float, int]]
    spread: str


@dataclass(frozen=True)
class SentenceMap:
    """All panels, on the same axes, and the sentences: number, language and text."""

    panels: list[Panel]
    sentences: list[tuple[int, str, str]]


def sentence_map(report: Report) -> SentenceMap | None:
    """Return the map; None where no system has one.

    Args:
        report: with its details.
    """
    details = report.details
    maps = details.maps()
    maps = {name: maps[name] for name in report.systems if len(maps.get(name, ())) == len(details.sentences) > 0}
    if not maps:
        return None
    places = [place for one in maps.values() for place in one]
    low_x, low_y = (min(place[axis] for place in places) for axis in (0, 1))
    span = max(max(place[axis] for place in places) - low for axis, low in ((0, low_x), (1, low_y))) or 1.0
    scale = (SIDE - 2 * _EDGE) / span
    first: dict[int, int] = {}
    for at, one in enumerate(details.sentences):
        is_source = one["language"] == details.source_language
        if is_source or one["sentence"] not in first:
            first[one["sentence"]] = at
    panels = []
    for name, own in maps.items():
        spots = [(_EDGE + (x - low_x) * scale, SIDE - _EDGE - (y - low_y) * scale) for x, y in own]
        panels.append(_panel(report, system_words(report, name), own, spots, first))
    sentences = [
        (number, str(details.sentences[at]["language"]), str(details.sentences[at]["text"]))
        for number, at in first.items()
    ]
    return SentenceMap(panels, sentences)


def _panel(
    report: Report, title: str, own: list[list[float]], spots: list[tuple[float, float]], first: dict[int, int]
) -> Panel:
    dots, lines = [], []
    for at, (one, (x, y)) in enumerate(zip(report.details.sentences, spots, strict=True)):
        source = first[one["sentence"]]
        dots.append(Dot(round(x, 1), round(y, 1), one["sentence"], at == source, f"{one['language']}: {one['text']}"))
        if at != source:
            lines.append(
                (round(x, 1), round(y, 1), round(spots[source][0], 1), round(spots[source][1], 1), one["sentence"])
            )
    # Sources last, so that they lie on top.
    dots.sort(key=lambda dot: dot.is_source)
    return Panel(title, dots, lines, _spread(report, own, first))


def _spread(report: Report, own: list[list[float]], first: dict[int, int]) -> str:
    """Return how far translations lie from their source, relative to how far sources lie from one another."""
    apart = [math.dist(own[a], own[b]) for a in first.values() for b in first.values() if a < b]
    together = [
        math.dist(own[at], own[first[one["sentence"]]])
        for at, one in enumerate(report.details.sentences)
        if at != first[one["sentence"]]
    ]
    if not apart or not together or not (mean := math.fsum(apart) / len(apart)):
        return ""
    return f"{100 * math.fsum(together) / len(together) / mean:.0f} %"
