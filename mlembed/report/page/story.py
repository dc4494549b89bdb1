"""The page in words: what was asked, what came out, and what that is worth against the baselines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mlembed.report.metrics import METRICS
from mlembed.report.page.contents import Contents
from mlembed.report.report import Report
from mlembed.report.systems import system_words
from mlembed.report.verdict import Judgment, Verdict, find_verdict, points

# Languages that a sentence names; the others are counted.
MOST_NAMED = 12
MOST_WEAK = 3
_TASKS = {
    "embedding": "understand",
    "classification": "classify texts in",
    "token_classification": "tag words in",
    "pair": "judge pairs of texts in",
}
_STARTS = {
    "transplant": "the teacher's body with a new vocabulary",
    "pretrained": "a pretrained multilingual encoder",
    "static": "a table of vectors without layers",
    "copy": "a copy of the teacher",
}
# Main metrics in words that need no table beside them.
_PLAIN = {
    "retrieval": "how often the nearest sentence of the other language is the translation, both ways",
    "span_f1": "of the names found and of the names to find, how many are exactly right",
    "spearman": "how well its ranking of pairs agrees with that of people",
    "macro_f1": "F1 of each label, rare labels counting as much as frequent ones",
}
_OUTCOMES: dict[Judgment, str] = {
    "better": "better in",
    "too close to call": "too close to call in",
    "worse": "worse in",
}


@dataclass(frozen=True)
class Card:
    """What is said of one baseline.

    Args:
        against: the baseline in words.
        kind: of the verdict, for its color: `improved`, `noise`, `mixed`, `worse`.
        word: the verdict, and in how many languages.
        change: the difference of the means.
        means: both means.
        found: in which languages it is better, too close to call, worse.
    """

    against: str
    kind: str
    word: str
    change: str
    means: str
    found: list[str]


@dataclass(frozen=True)
class Story:
    """The words at the top of the page.

    Args:
        asked: one sentence.
        score: the mean of the main metric as it is shown; empty: nothing was measured.
        score_title: what it is.
        came_out: sentences.
        weakest: the weakest languages, weakest first, with their values.
        cards: a verdict for each baseline, the last one first.
        facts: name and value of each setting that matters.
    """

    asked: str
    score: str
    score_title: str
    came_out: str
    weakest: list[tuple[str, str]]
    cards: list[Card]
    facts: list[tuple[str, str]]


def tell(contents: Contents) -> Story:
    """Return what the page says first.

    Args:
        contents: what was asked and what came out.
    """
    report, metric = contents.report, contents.report.main_metric()
    asked, facts = _asked(contents), _facts(contents)
    if metric is None:
        return Story(asked, "", "", f"Nothing was measured on {report.test_set}.", [], [], facts)
    known, averaged = METRICS[metric], report.averaged(metric)
    over = f"mean of {len(averaged)} languages" if len(averaged) > 1 else ", ".join(averaged)
    baselines = list(reversed(list(report.systems)[:-1]))
    cards = [card for name in baselines if (card := _card(report, metric, name)) is not None]
    return Story(
        asked,
        known.format(report.mean(metric)),
        f"{known.title}, {over}",
        _came_out(report, metric, [find_verdict(report, metric, name) for name in baselines]),
        _weakest(report, metric) if len(averaged) > 1 else [],
        cards,
        facts,
    )


def names(languages: list[str]) -> str:
    """Return languages as a sentence names them; of many the first, and how many more."""
    if len(languages) <= MOST_NAMED:
        return ", ".join(languages)
    return f"{', '.join(languages[: MOST_NAMED - 2])} and {len(languages) - MOST_NAMED + 2} more"


def weakest_first(report: Report, metric: str) -> list[str]:
    """Return the languages that the last system was measured in, weakest first; one without a value is the weakest."""
    values = {key: row[metric].value for key, row in report.systems[report.last].items() if metric in row}
    worst = -math.inf if METRICS[metric].better == "higher" else math.inf
    sign = 1 if METRICS[metric].better == "higher" else -1
    return sorted(values, key=lambda key: sign * (worst if math.isnan(values[key]) else values[key]))


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {whole % 60:02} s"


def _weakest(report: Report, metric: str) -> list[tuple[str, str]]:
    found = []
    for language in weakest_first(report, metric)[:MOST_WEAK]:
        estimate = report.estimate(metric, language)
        assert estimate is not None
        found.append((language, METRICS[metric].format(estimate.value)))
    return found


def _came_out(report: Report, metric: str, verdicts: list[Verdict | None]) -> str:
    """Return the result in two or three sentences, with what speaks against it."""
    known = METRICS[metric]
    who = system_words(report, report.last)
    meaning = _PLAIN.get(metric, known.meaning)
    said = [f"On {report.test_set}, {who} scores {known.format(report.mean(metric))}: {meaning}."]
    if (verdict := next((one for one in verdicts if one is not None), None)) is not None:
        against = system_words(report, verdict.baseline)
        difference = points(metric, verdict.new - verdict.old)
        languages = len(verdict.judged)
        better, worse = len(verdict.languages("better")), verdict.languages("worse")
        if verdict.word == "within noise":
            everywhere = f"all {languages} languages" if languages > 1 else "the one language"
            said.append(
                f"Against {against} the difference of {difference} is within the noise of single languages: the 95 % "
                f"intervals overlap in {everywhere}."
            )
        else:
            said.append(
                f"Against {against} that is {difference}; by the 95 % intervals better in {better}, worse in "
                f"{len(worse)} of {languages} languages."
            )
        if worse:
            said.append(f"It lost in {names(worse)}.")
        others = [one for one in verdicts if one is not None and one is not verdict and one.languages("worse")]
        said += [
            f"It is worse than {system_words(report, one.baseline)} in {len(one.languages('worse'))} of "
            f"{len(one.judged)} languages ({points(metric, one.new - one.old)} on average)."
            for one in others
        ]
    if any(math.isnan(report.systems[report.last][key][metric].value) for key in report.averaged(metric)):
        said.append("In some languages the score is not defined; they count as the weakest.")
    return " ".join(said)


def _card(report: Report, metric: str, baseline: str) -> Card | None:
    verdict = find_verdict(report, metric, baseline)
    if verdict is None:
        return None
    total = len(verdict.judged)
    found = []
    for judgment, words in _OUTCOMES.items():
        languages = verdict.languages(judgment)
        if len(languages) == total and total > 1:
            found.append(f"{words} all {total} languages")
        elif languages:
            found.append(
                f"{words} {len(languages)} of {total}: {names(languages)}" if total > 1 else f"{words} {languages[0]}"
            )
    known = METRICS[metric]
    return Card(
        against=system_words(report, baseline),
        kind=_kind(verdict),
        word=_in_words(verdict),
        change=points(metric, verdict.new - verdict.old),
        means=f"{known.format(verdict.old)} → {known.format(verdict.new)}",
        found=found,
    )


def _kind(verdict: Verdict) -> str:
    """Return the color of a verdict: one that holds in less than half of the languages is no cause for joy."""
    if verdict.word == "improved" and 2 * len(verdict.languages("better")) < len(verdict.judged):
        return "noise"
    return "noise" if verdict.word == "within noise" else verdict.word


def _in_words(verdict: Verdict) -> str:
    total = len(verdict.judged)
    if total == 1 or verdict.word not in ("improved", "worse"):
        return verdict.word
    count = len(verdict.languages("better" if verdict.word == "improved" else "worse"))
    return f"{verdict.word} in all {total}" if count == total else f"{verdict.word} in {count} of {total}"


def _asked(contents: Contents) -> str:
    report, metadata = contents.report, contents.report.metadata
    languages = [one for one in report.languages() if one != metadata.get("source_language")]
    where = f"{len(languages)} languages ({names(languages)})" if len(languages) != 1 else languages[0]
    if "target" in metadata:
        beside = f", beside the teacher {metadata['teacher']}" if metadata.get("teacher") else ""
        return f"Measure {metadata['target']} in {where}{beside}."
    kind = contents.asked("task", "kind") or "embedding"
    known = _STARTS.get(contents.asked("model", "kind") or "")
    start = f" ({known})" if known else ""
    teacher = metadata.get("teacher")
    wanted = f"Teach a student{start} to {_TASKS.get(kind, 'answer in')} {where}"
    if teacher is None:
        return f"{wanted}."
    source = contents.asked("data", "source_language") or "the source language"
    goal = f"as {teacher} understands {source}" if kind == "embedding" else f"with {teacher} as the teacher"
    return f"{wanted} {goal}."


def _facts(contents: Contents) -> list[tuple[str, str]]:
    """Return the settings that matter, and what they came to; those that are not known are left out."""
    asked, metadata = contents.asked, contents.report.metadata
    steps = metadata.get("steps")
    best = f", the best at {metadata['best_step']}" if metadata.get("best_step") not in (None, steps) else ""
    student = asked("model", "student", "name")
    used = ((metadata.get("data") or {}).get("used") or {}).get("train") or {}
    facts: list[tuple[str, Any]] = [
        ("Task", asked("task", "kind")),
        ("Student", metadata.get("target") or " ".join(one for one in (asked("model", "kind"), student) if one)),
        ("Teacher", metadata.get("teacher")),
        ("Loss", asked("loss", "kind")),
        ("Learning rate", asked("optimizer", "lr")),
        ("Epochs", asked("trainer", "epochs")),
        ("Steps", f"{steps:,}{best}" if steps is not None else None),
        ("Skipped steps", metadata.get("skipped_steps") or None),
        ("Training rows", f"{used['rows']:,}" if "rows" in used else None),
        ("Texts read", f"{metadata['texts']:,}" if metadata.get("texts") else None),
        ("Precision", metadata.get("precision") or asked("precision")),
        ("Seed", asked("seed")),
        ("Time", duration(metadata["seconds"]) if metadata.get("seconds") is not None else None),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]
