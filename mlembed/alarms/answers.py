"""Alarms on answers: one for everything, none that is better than chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from mlembed.alarms.alarm import Alarm, Signs

# Answers other than the most frequent one are rarer than this share of what they are in the labels of people.
FEW_OTHERS = 0.05
# So many labels of people must differ from the most frequent one before anything is said.
LEAST_OTHERS = 10
# Scores: the deviation of the student's relative to that of people's, and the correlation that chance gives.
NO_DEVIATION, NO_CORRELATION = 0.02, 0.05
# What a new head reaches by luck: standard deviations above the most frequent label; a correlation.
LUCK, SOME_CORRELATION = 3.0, 0.4
# See `alarms.vectors`: a new head knows nothing at first.
PATIENT_UNTIL = 0.5


def measure_classes(gold: np.ndarray, probabilities_AL: np.ndarray) -> dict[str, float]:
    """Figures of A answers that are labels.

    Args:
        gold: the numbers of people's labels, `[A]`; of several at once a matrix of 0 and 1, `[A, L]`.
        probabilities_AL: of each label.

    Returns:
        `count`; `top` and `gold_top`: the share of the most frequent answer, and of the most frequent label (or set of
        labels) of people; `accuracy`; `entropy`: the mean entropy of the probabilities, 1 where all are equal.
    """
    several = gold.ndim == 2
    chosen = (probabilities_AL >= 0.5).astype(np.int64) if several else probabilities_AL.argmax(axis=1)
    right_A = (chosen == gold).all(axis=1) if several else chosen == gold
    return {
        "count": len(gold),
        "top": _top_share(chosen),
        "gold_top": _top_share(gold),
        "accuracy": float(right_A.mean()),
        "entropy": _entropy(probabilities_AL, several=several),
    }


def _top_share(answers: np.ndarray) -> float:
    _, counts = np.unique(answers, axis=0, return_counts=True)
    return float(counts.max() / len(answers))


def _entropy(probabilities_AL: np.ndarray, *, several: bool) -> float:
    both = np.stack([probabilities_AL, 1 - probabilities_AL]) if several else probabilities_AL[None]
    both = both.astype(np.float64).clip(1e-12, 1)
    terms = -(both * np.log(both))
    most = np.log(2) if several else np.log(max(2, probabilities_AL.shape[1]))
    return float((terms.sum(axis=0).mean() if several else terms.sum(axis=2).mean()) / most)


def measure_scores(gold_N: np.ndarray, scores_N: np.ndarray) -> dict[str, float]:
    """Figures of N answers that are scores.

    Returns:
        `count`; `deviation` and `gold_deviation`: the standard deviations; `correlation`: Pearson's, 0 for a constant.
    """
    deviation, gold_deviation = float(scores_N.std()), float(gold_N.std())
    correlation = float(np.corrcoef(gold_N, scores_N)[0, 1]) if deviation > 0 and gold_deviation > 0 else 0.0
    return {
        "count": len(gold_N),
        "deviation": deviation,
        "gold_deviation": gold_deviation,
        "correlation": correlation,
    }


def knows_answers(signs: Signs) -> bool:
    """Whether a student answers better than chance; one with a new head does not, and what it scores means nothing."""
    figures = signs["all"]
    if "correlation" in figures:
        return bool(figures["correlation"] > SOME_CORRELATION)
    deviation = math.sqrt(figures["gold_top"] * (1 - figures["gold_top"]) / figures["count"])
    return bool(figures["accuracy"] > figures["gold_top"] + LUCK * deviation)


def answer_alarms(signs: Signs, *, progress: float) -> Iterator[Alarm]:
    """What is wrong with the answers of an evaluation.

    Args:
        signs: of all answers (`all`) and of each language (`languages`): of `measure_classes` or `measure_scores`.
        progress: share of the steps that are done, 0 to 1; nothing is said before half of them.
    """
    if progress < PATIENT_UNTIL:
        return
    for judge in (_one_answer, _chance):
        together = judge(signs["all"])
        if together is not None:
            yield Alarm(together.kind, together.seen, together.severity, ends=True)
            continue
        found = {language: judge(figures) for language, figures in signs["languages"].items()}
        bad = {language: alarm for language, alarm in found.items() if alarm is not None}
        if bad:
            worst = max(bad, key=lambda language: bad[language].severity)
            seen = f"in {', '.join(bad)}; in {worst}, {bad[worst].seen}"
            yield Alarm(bad[worst].kind, seen, bad[worst].severity, ends=False)


def _one_answer(figures: Mapping[str, float]) -> Alarm | None:
    if "deviation" in figures:
        limit = NO_DEVIATION * figures["gold_deviation"]
        if figures["count"] < LEAST_OTHERS or figures["deviation"] >= limit:
            return None
        seen = f"its scores deviate by {figures['deviation']:.2g}, those of people by {figures['gold_deviation']:.2g}"
        return Alarm("one_answer", seen, limit / max(figures["deviation"], 1e-9), ends=False)
    others, gold_others = 1 - figures["top"], 1 - figures["gold_top"]
    if gold_others * figures["count"] < LEAST_OTHERS or others >= FEW_OTHERS * gold_others:
        return None
    seen = f"{figures['top']:.1%} of its answers are the same one; of people's labels {figures['gold_top']:.1%}"
    return Alarm("one_answer", seen, FEW_OTHERS * gold_others / max(others, 1e-3), ends=False)


def _chance(figures: Mapping[str, float]) -> Alarm | None:
    if "correlation" in figures:
        if figures["count"] < LEAST_OTHERS or abs(figures["correlation"]) >= NO_CORRELATION:
            return None
        return Alarm("chance", f"their correlation with people's is {figures['correlation']:.3f}", 1.0, ends=False)
    if (1 - figures["gold_top"]) * figures["count"] < LEAST_OTHERS or figures["accuracy"] > figures["gold_top"]:
        return None
    seen = (
        f"{figures['accuracy']:.1%} are right; to answer the most frequent label every time is right in "
        f"{figures['gold_top']:.1%} (entropy of the probabilities {figures['entropy']:.2f}, 1: undecided)"
    )
    return Alarm("chance", seen, figures["gold_top"] / max(figures["accuracy"], 1e-3), ends=False)
