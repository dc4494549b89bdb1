"""`mlembed runs compare`: what differs between runs, in their configurations and in their results."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlembed.errors import ConfigError
from mlembed.report.estimate import Estimate
from mlembed.report.metrics import METRICS
from mlembed.run.start import leaves
from mlembed.runs.stored_run import StoredRun

MISSING = object()


@dataclass(frozen=True)
class Difference:
    """How a value differs from that of the first run.

    Args:
        value: the value minus that of the first run; nan where one of them is not defined.
        low: the lower end of the 95 % interval of the difference; nan where an interval is not known.
        high: the upper end.
    """

    value: float
    low: float
    high: float

    @property
    def is_noise(self) -> bool | None:
        """Whether the interval has 0 in it; None where it is not known."""
        return None if math.isnan(self.low) or math.isnan(self.high) else self.low <= 0.0 <= self.high


def difference(first: Estimate, other: Estimate) -> Difference:
    """Return how an estimate differs from another, with the interval that their intervals allow.

    The interval is that of Zou and Donner (2008, Statistics in Medicine 27), which needs the two intervals alone and
    lets them be lopsided: the distance to each end is the root of the sum of the squares of the distances that make the
    difference smallest (or largest). It holds for independent estimates. Two runs that were tested on the same rows
    differ by less chance than that, so what is called more than noise here is so.
    """
    value = other.value - first.value
    below = math.hypot(other.value - other.low, first.high - first.value)
    above = math.hypot(other.high - other.value, first.value - first.low)
    return Difference(value, value - below, value + above)


def mean_difference(differences: Sequence[Difference]) -> Difference:
    """Return the mean over languages.

    Languages are tested on translations of the same sentences, so their errors go together: the ends are averaged, as
    if they did so entirely, and not narrowed by their number.
    """
    count = len(differences)
    if not count:
        return Difference(math.nan, math.nan, math.nan)
    low, value, high = (
        math.fsum(ends) / count for ends in zip(*((d.low, d.value, d.high) for d in differences), strict=True)
    )
    return Difference(value, low, high)


@dataclass(frozen=True)
class Comparison:
    """Runs side by side; the first is what the others are compared with.

    Args:
        runs: those that are finished.
    """

    runs: Sequence[StoredRun]

    def __post_init__(self) -> None:
        if len(self.runs) < 2:
            raise ConfigError(f"two finished runs are needed to compare; there is {len(self.runs) or 'none'}")

    @property
    def metrics(self) -> list[str]:
        """The metrics that some run has, in the order of the table of metrics."""
        present = {name for run in self.runs if run.report for name in run.report.metrics()}
        return [name for name in METRICS if name in present]

    @property
    def languages(self) -> list[str]:
        """The languages that some run was tested in."""
        return list(dict.fromkeys(language for run in self.runs if run.report for language in run.report.languages()))

    def main_metric(self) -> str | None:
        """The metric that the first run was decided by, else the first that there is."""
        return next(iter([one for one in (self.runs[0].metric,) if one] + self.metrics), None)

    def settings(self) -> dict[str, list[Any]]:
        """The keys of the configurations that differ, with the value of each run; None where a run has no such key."""
        configs = [dict(leaves(run.config)) for run in self.runs]
        keys = sorted({key for config in configs for key in config if not key.startswith("run.")})
        values = {key: [config.get(key, MISSING) for config in configs] for key in keys}
        differing = {key: row for key, row in values.items() if len({_text(value) for value in row}) > 1}
        return {key: [None if one is MISSING else one for one in row] for key, row in differing.items()}

    def estimate(self, run: StoredRun, metric: str, language: str) -> Estimate | None:
        """What a run's student reached in a language."""
        return run.report.estimate(metric, language) if run.report else None

    def difference(self, run: StoredRun, metric: str, language: str) -> Difference | None:
        """How a run differs from the first in a language; None for the first, and where one was not measured."""
        first, other = self.estimate(self.runs[0], metric, language), self.estimate(run, metric, language)
        return None if run is self.runs[0] or first is None or other is None else difference(first, other)

    def mean_difference(self, run: StoredRun, metric: str) -> Difference | None:
        """How the means differ, over the languages that both runs average; None for the first."""
        first = self.runs[0]
        if run is first or first.report is None or run.report is None:
            return None
        averaged = set(first.report.averaged(metric)) & set(run.report.averaged(metric))
        found = [self.difference(run, metric, language) for language in averaged]
        return mean_difference([one for one in found if one is not None])

    def notes(self) -> list[str]:
        """What makes a comparison unfair: other test data, other languages."""
        tested = {_fingerprint(run) for run in self.runs}
        if "" in tested:  # an evaluation has no hash of its data; its name has to do
            tested = {run.report.test_set for run in self.runs if run.report}
        notes = []
        if len(tested) > 1:
            notes.append("Not all runs were tested on the same data: their results cannot be compared as they are.")
        if any(len(self._averaged(metric)) > 1 for metric in self.metrics):
            notes.append("Not all means are over the same languages; their differences are over those that both have.")
        return notes

    def _averaged(self, metric: str) -> set[tuple[str, ...]]:
        """The sets of languages that the runs' means of a metric are over."""
        averaged = {tuple(sorted(run.report.averaged(metric))) for run in self.runs if run.report}
        return averaged - {()}


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """`runs compare --json`; the keys are frozen by a test."""
    runs = comparison.runs
    return {
        "runs": [str(run.path) for run in runs],
        "settings": comparison.settings(),
        "metrics": {
            metric: {
                "better": METRICS[metric].better,
                "mean": [
                    {"value": run.value(metric), **_difference_json(comparison.mean_difference(run, metric))}
                    for run in runs
                ],
                "languages": {
                    language: [_cell_json(comparison, run, metric, language) for run in runs]
                    for language in comparison.languages
                },
            }
            for metric in comparison.metrics
        },
        "notes": comparison.notes(),
    }


def _cell_json(comparison: Comparison, run: StoredRun, metric: str, language: str) -> dict[str, Any] | None:
    estimate = comparison.estimate(run, metric, language)
    if estimate is None:
        return None
    known = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "count": estimate.count}
    return known | _difference_json(comparison.difference(run, metric, language))


def _difference_json(one: Difference | None) -> dict[str, Any]:
    found = one and {"value": one.value, "low": one.low, "high": one.high, "is_noise": one.is_noise}
    return {"difference": found}


def _fingerprint(run: StoredRun) -> str:
    """The hash of the test data; empty where it is not known."""
    made_from = run.report.metadata.get("of") if run.report else None
    return str(made_from.get("test data", "")) if isinstance(made_from, dict) else ""


def _text(value: Any) -> str:
    return "" if value is MISSING else json.dumps(value, sort_keys=True)
