"""Whether the last system of a report improves on another one, language by language and honestly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from mlembed.report.bootstrap import Estimate
from mlembed.report.metrics import METRICS, is_better
from mlembed.report.report import Report

Judgment = Literal["better", "worse", "too close to call"]


@dataclass(frozen=True)
class Verdict:
    """One system against another, in the languages that both were measured in.

    Args:
        baseline: the other system.
        new: mean of the last system over these languages, as stored.
        old: mean of the other one.
        judged: language -> judgment; only intervals that do not overlap decide.
    """

    baseline: str
    new: float
    old: float
    judged: dict[str, Judgment]

    def languages(self, judgment: Judgment) -> list[str]:
        """Return the languages of a judgment."""
        return [language for language, found in self.judged.items() if found == judgment]

    @property
    def word(self) -> str:
        """All languages in a word: "improved", "worse", "within noise"; "mixed": some are better and some worse."""
        better, worse = self.languages("better"), self.languages("worse")
        if better and worse:
            return "mixed"
        return "improved" if better else "worse" if worse else "within noise"


def find_verdict(report: Report, metric: str, baseline: str) -> Verdict | None:
    """Return how the last system stands against another; None where no language was measured with both.

    Args:
        report: what was measured.
        metric: that decides.
        baseline: the name of the other system.
    """
    pairs: dict[str, tuple[Estimate, Estimate]] = {}
    for language in report.averaged(metric):
        new, old = report.estimate(metric, language), report.estimate(metric, language, system=baseline)
        if new is not None and old is not None:
            pairs[language] = (new, old)
    if not pairs:
        return None
    # Only languages that both have: a mean over others would compare languages, not systems.
    means = [math.fsum(pair[at].value for pair in pairs.values()) / len(pairs) for at in (0, 1)]
    judged = {language: _judgment(metric, new, old) for language, (new, old) in pairs.items()}
    return Verdict(baseline, means[0], means[1], judged)


def points(metric: str, difference: float) -> str:
    """Return a difference of two values as it is shown, with its sign.

    Args:
        metric: of the values.
        difference: as stored.
    """
    known = METRICS[metric]
    return "no difference is defined" if math.isnan(difference) else f"{difference * known.scale:+.{known.digits}f}"


def _judgment(metric: str, new: Estimate, old: Estimate) -> Judgment:
    if math.isnan(new.value) or math.isnan(old.value) or new.overlaps(old):
        return "too close to call"
    return "better" if is_better(metric, new.value, old.value) else "worse"
