"""The one table of all metrics: what each is called, what it means, and which way is better."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from mlembed.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the report.

    Args:
        name: its name in `report.json` and in the configuration.
        title: its name in a heading.
        short: its name above a narrow column.
        group: the chapter of `report.md` that shows it.
        meaning: one line for a reader who meets it for the first time.
        better: which direction is an improvement.
        scale: the factor from the stored value to the shown one.
        digits: the decimals that are shown.
    """

    name: str
    title: str
    short: str
    group: str
    meaning: str
    better: Literal["higher", "lower"]
    scale: float = 1.0
    digits: int = 3

    def format(self, value: float) -> str:
        """Return the value as tables show it; `-` where it is not defined."""
        return "-" if math.isnan(value) else f"{value * self.scale:.{self.digits}f}"


_TABLE = (
    Metric(
        "retrieval",
        "Retrieval at 1, both ways (x100)",
        "both ways",
        "Retrieval",
        "mean of the two directions below; 100 is every sentence found, 0 none",
        "higher",
        100.0,
        1,
    ),
    Metric(
        "retrieval_to_source",
        "Retrieval at 1, to the source language (x100)",
        "to source",
        "Retrieval",
        "how often the sentence nearest by cosine to a foreign sentence, among the sources of that language's rows, "
        "is its source",
        "higher",
        100.0,
        1,
    ),
    Metric(
        "retrieval_from_source",
        "Retrieval at 1, from the source language (x100)",
        "from source",
        "Retrieval",
        "how often the foreign sentence nearest by cosine to a source sentence is its translation",
        "higher",
        100.0,
        1,
    ),
    Metric(
        "margin_error",
        "Margin-based error rate (x100)",
        "margin error",
        "Retrieval",
        "how often a foreign sentence misses its source when cosines are divided by those of the 4 nearest "
        "neighbors on either side (xsim); 0 is perfect",
        "lower",
        100.0,
        1,
    ),
    Metric(
        "cosine",
        "Cosine to the teacher",
        "cosine to teacher",
        "Agreement with the teacher",
        "mean cosine between the vector of a foreign sentence and the teacher's vector of its source; 1 is perfect",
        "higher",
    ),
    Metric(
        "unexplained_variance",
        "Unexplained variance, 1 - R2",
        "1 - R2",
        "Agreement with the teacher",
        "squared distance to the teacher's vectors relative to their spread; 0 is perfect, "
        "1 no better than answering with the teacher's mean vector every time",
        "lower",
    ),
    Metric(
        "sts",
        "STS, same language (Spearman x100)",
        "sts",
        "Semantic similarity",
        "rank correlation of the cosine of two sentences of one language with people's similarity scores",
        "higher",
        100.0,
        1,
    ),
    Metric(
        "sts_cross",
        "STS, source to other language (Spearman x100)",
        "sts cross",
        "Semantic similarity",
        "the same, the first sentence in the source language and the second in the other",
        "higher",
        100.0,
        1,
    ),
    Metric(
        "macro_f1",
        "Macro F1 (x100)",
        "macro F1",
        "Classification",
        "F1 of each label, averaged over labels with the same weight: rare labels count as much as frequent ones",
        "higher",
        100.0,
        1,
    ),
    Metric(
        "micro_f1",
        "Micro F1 (x100)",
        "micro F1",
        "Classification",
        "F1 of all answers together; with one label a text it is the accuracy",
        "higher",
        100.0,
        1,
    ),
    Metric(
        "accuracy",
        "Accuracy (x100)",
        "accuracy",
        "Classification",
        "how often the answer is right; where a text has several labels, how often all of them are",
        "higher",
        100.0,
        1,
    ),
    Metric(
        "calibration_error",
        "Expected calibration error (x100)",
        "calibration",
        "Classification",
        "how far, on average, the stated probability is from how often the answer is right, in 15 bins; 0 is perfect",
        "lower",
        100.0,
        1,
    ),
    Metric(
        "consistency",
        "Consistency with the source language (x100)",
        "consistency",
        "Classification",
        "how often the answer to a text is the answer to the same text in the source language, right or wrong",
        "higher",
        100.0,
        1,
    ),
    Metric(
        "span_f1",
        "Span F1 (x100)",
        "span F1",
        "Tagging",
        "harmonic mean of the two below, over all spans of all types (seqeval, micro average)",
        "higher",
        100.0,
        1,
    ),
    Metric(
        "span_precision",
        "Span precision (x100)",
        "precision",
        "Tagging",
        "how many of the spans found are in the text with exactly these bounds and this type",
        "higher",
        100.0,
        1,
    ),
    Metric(
        "span_recall",
        "Span recall (x100)",
        "recall",
        "Tagging",
        "how many of the spans in the text were found with exactly these bounds and this type",
        "higher",
        100.0,
        1,
    ),
    Metric(
        "word_accuracy",
        "Accuracy over words (x100)",
        "word accuracy",
        "Tagging",
        "how often the tag of a word is right; most words are outside of spans, so it is high for everyone",
        "higher",
        100.0,
        1,
    ),
    Metric(
        "spearman",
        "Spearman's correlation (x100)",
        "spearman",
        "Similarity regression",
        "rank correlation of the predicted similarity of two texts with that given by people",
        "higher",
        100.0,
        1,
    ),
    Metric(
        "pearson",
        "Pearson's correlation (x100)",
        "pearson",
        "Similarity regression",
        "the same with the values instead of ranks: is the relation a straight line",
        "higher",
        100.0,
        1,
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _TABLE}


def metric_names() -> tuple[str, ...]:
    """Return the names of all metrics, in the order of the report."""
    return tuple(METRICS)


def nearest_hint(name: str, choices: Collection[str]) -> str:
    """Return ` Did you mean 'x'?` where a choice is near to the name, and the list of choices in any case."""
    near = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    question = f" Did you mean {near[0]!r}?" if near else ""
    return f"{question} Choose from: {', '.join(choices) or '(none)'}."


def parse_metric(text: str, *, languages: Collection[str] | None = None) -> tuple[str, str | None]:
    """Split `retrieval/de` into metric and language; the language of `retrieval` is None, the mean.

    Args:
        text: a metric's name, alone or with `/` and a language.
        languages: where given, the language must be one of these.

    Returns:
        The metric's name, and the language or None for the mean over languages.

    Raises:
        ConfigError: no such metric or language; the message has the nearest name.
    """
    name, slash, language = text.partition("/")
    if name not in METRICS:
        raise ConfigError(f"There is no metric {name!r}.{nearest_hint(name, METRICS)}")
    if not slash:
        return name, None
    if not language:
        raise ConfigError(f"{text!r} ends without a language: write {name!r} for the mean, or for example '{name}/de'.")
    if languages is not None and language not in languages:
        raise ConfigError(f"There is no language {language!r} for {text!r}.{nearest_hint(language, languages)}")
    return name, language


def is_better(metric: str, new: float, old: float, *, min_delta: float = 0.0) -> bool:
    """Return whether `new` improves on `old`.

    Args:
        metric: a name as `parse_metric` reads it.
        new: the value that would be an improvement; a nan never is.
        old: the value to beat; any number beats a nan.
        min_delta: how much better it must be.

    Raises:
        ConfigError: no such metric.
    """
    better = METRICS[parse_metric(metric)[0]].better
    if math.isnan(new) or math.isnan(old):
        return math.isnan(old) and not math.isnan(new)
    return new > old + min_delta if better == "higher" else new < old - min_delta
