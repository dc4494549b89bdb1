"""The results of one evaluation: systems, languages, metrics; their means, and their JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlembed.errors import ConfigError, DataError
from mlembed.report.details import Details
from mlembed.report.estimate import Estimate
from mlembed.report.metrics import METRICS, metric_names, nearest_hint, parse_metric

FORMAT = "mlembed-report/1"
# The weakest language is found by the first of these that the report has.
MAIN_METRICS = ("retrieval", "sts", "sts_cross", "macro_f1", "span_f1", "spearman", "cosine")

Scores = Mapping[str, Mapping[str, Estimate]]


@dataclass(frozen=True)
class Report:
    """What each system scores in each language; the last system is the one that the report is about.

    Args:
        systems: system ("majority", "tfidf", "teacher", "before", "after", or "student") -> language -> metric ->
            estimate, in the order in which tables show them.
        test_set: what the systems were tested on, in words that can follow "on".
        metadata: anything worth keeping: counts of rows read and filtered, seconds, names of models.
        details: what the page shows beside scores; not in the report's JSON, but in a file of its own.

    Raises:
        ConfigError: no system, or a metric that the table of metrics does not have.
    """

    systems: Mapping[str, Scores]
    test_set: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    details: Details = field(default_factory=Details)

    def __post_init__(self) -> None:
        if not self.systems:
            raise ConfigError("A report needs the scores of at least one system.")
        for scores in self.systems.values():
            for language_scores in scores.values():
                for name in language_scores:
                    if name not in METRICS:
                        raise ConfigError(f"There is no metric {name!r}.{nearest_hint(name, METRICS)}")

    @property
    def last(self) -> str:
        """The name of the system that the report is about."""
        return list(self.systems)[-1]

    def languages(self) -> tuple[str, ...]:
        """Return all languages, in the order of the last system, then those that only others have."""
        systems = reversed(list(self.systems.values()))
        return tuple(dict.fromkeys(language for scores in systems for language in scores))

    def metrics(self) -> tuple[str, ...]:
        """Return the metrics that some system has in some language, in the order of the table of metrics."""
        present = {name for scores in self.systems.values() for language in scores.values() for name in language}
        return tuple(name for name in metric_names() if name in present)

    def estimate(self, metric: str, language: str, *, system: str | None = None) -> Estimate | None:
        """Return the estimate of one language, or None where the system has none; the last system by default."""
        return self.systems[system or self.last].get(language, {}).get(metric)

    def mean(self, metric: str, *, system: str | None = None) -> float:
        """Return the unweighted mean over the languages that have the metric; nan where one of them is nan, or none is.

        A language without a defined value (a collapsed model has no rank correlation) is not left out: the mean of
        the others would look better for it. Of labels, the source language is left out where there are others: it
        would hide how well they crossed over.
        """
        scores = self.systems[system or self.last]
        values = [scores[language][metric].value for language in self.averaged(metric, system=system)]
        return math.fsum(values) / len(values) if values else math.nan

    def averaged(self, metric: str, *, system: str | None = None) -> list[str]:
        """Return the languages that a mean is over; see `mean`."""
        having = [language for language, row in self.systems[system or self.last].items() if metric in row]
        source = self.metadata.get("source_language")
        return [language for language in having if language != source or len(having) == 1]

    def value(self, name: str, *, system: str | None = None) -> float:
        """Return one number: `retrieval` is the mean over languages, `retrieval/de` one language.

        Args:
            name: a metric, alone or with `/` and a language.
            system: the last one by default.

        Raises:
            ConfigError: no such metric, language or system in this report; the message has the nearest name.
        """
        metric, language = parse_metric(name)
        if system is not None and system not in self.systems:
            raise ConfigError(f"The report has no system {system!r}.{nearest_hint(system, list(self.systems))}")
        scores = self.systems[system or self.last]
        having = [key for key, estimates in scores.items() if metric in estimates]
        if not having:
            present = [known for known in self.metrics() if any(known in row for row in scores.values())]
            raise ConfigError(f"The report has no {metric!r} (was its data given?).{nearest_hint(metric, present)}")
        if language is None:
            return self.mean(metric, system=system)
        if language not in having:
            raise ConfigError(f"The report has no {name!r}.{nearest_hint(language, having)}")
        return scores[language][metric].value

    def main_metric(self) -> str | None:
        """Return the metric by which the weakest language is found: the first of `MAIN_METRICS` that was measured."""
        present = {name for language in self.systems[self.last].values() for name in language}
        return next((name for name in MAIN_METRICS if name in present), None)

    def weakest(self) -> tuple[str, str] | None:
        """Return the weakest language of the last system and the metric that says so; nan is weaker than any number."""
        metric = self.main_metric()
        if metric is None:
            return None
        values = {key: row[metric].value for key, row in self.systems[self.last].items() if metric in row}
        return min(values, key=lambda key: -math.inf if math.isnan(values[key]) else values[key]), metric

    def rows(self) -> dict[str, dict[str, int]]:
        """Return how many test rows each language has, where any: `parallel`, `sts`, `sts_cross`, `labelled`."""
        kinds = {
            "parallel": ("retrieval", "cosine"),
            "sts": ("sts",),
            "sts_cross": ("sts_cross",),
            "labelled": ("macro_f1", "span_f1", "spearman"),
        }
        counts: dict[str, dict[str, int]] = {}
        for language in self.languages():
            counts[language] = {}
            for kind, metrics in kinds.items():
                found = [self.estimate(metric, language, system=name) for metric in metrics for name in self.systems]
                numbers = [estimate.count for estimate in found if estimate is not None]
                if numbers:
                    counts[language][kind] = max(numbers)
        return counts

    def to_json(self) -> str:
        """Return the report as JSON text; the keys are frozen by a test, and what is not defined is null."""
        weakest = self.weakest()
        document = {
            "format": FORMAT,
            "test_set": self.test_set,
            "metrics": {
                name: {"title": METRICS[name].title, "meaning": METRICS[name].meaning, "better": METRICS[name].better}
                for name in self.metrics()
            },
            "systems": {name: self._system_json(name) for name in self.systems},
            "weakest": weakest and {"system": self.last, "language": weakest[0], "metric": weakest[1]},
            "rows": self.rows(),
            "metadata": self.metadata,
        }
        return json.dumps(_plain(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def _system_json(self, system: str) -> dict[str, Any]:
        scores = self.systems[system]
        present = [name for name in self.metrics() if any(name in row for row in scores.values())]
        return {
            "mean": {name: self.mean(name, system=system) for name in present},
            "languages": {
                language: {
                    name: {"value": one.value, "low": one.low, "high": one.high, "count": one.count}
                    for name, one in row.items()
                }
                for language, row in scores.items()
            },
        }

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Return the report that `to_json` wrote; what follows from the scores (means, weakest) is computed anew.

        Raises:
            DataError: not JSON, another format, or a part is missing or of the wrong kind.
        """
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"The report is not JSON: {error}. Run `mlembed eval` again.") from error
        return cls.from_document(document)

    @classmethod
    def from_document(cls, document: Any) -> Report:
        """Return the report from its JSON that was parsed before; see `from_json`."""
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise DataError(f'Not a report of this version ("format": "{FORMAT}"). Run `mlembed eval` again.')
        try:
            systems = {
                system: {
                    language: {name: _estimate(one) for name, one in row.items()}
                    for language, row in content["languages"].items()
                }
                for system, content in document["systems"].items()
            }
            test_set, metadata = document["test_set"], document["metadata"]
            if not isinstance(test_set, str) or not isinstance(metadata, dict):
                raise TypeError("test_set must be a text, and metadata an object")
            return cls(systems=systems, test_set=test_set, metadata=metadata)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, ConfigError) as error:
            raise DataError(f"The report is damaged: {error!r}. Run `mlembed eval` again.") from error


def _estimate(one: Mapping[str, Any]) -> Estimate:
    value, low, high = (math.nan if one[key] is None else float(one[key]) for key in ("value", "low", "high"))
    return Estimate(value, low, high, int(one["count"]))


def _plain(value: Any) -> Any:
    """Return the value as JSON knows it: numbers of numpy as numbers, paths as text, what is not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numbers and arrays of numpy
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
