"""Alarms on sentence vectors: whether they spread, in how many directions, and in which dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mlembed.alarms.alarm import Alarm, Signs
from mlembed.report.vectors import Floats, unit_rows

# Enough for a figure that is stable to a few percent, at a cost of milliseconds.
MOST_ROWS = 256
# Of fewer sentences, spread and rank say more about the sentences than about the model.
LEAST_ROWS = 10
# Relative to the teacher's; see docs/alarms.md for what healthy runs have.
LOW_SPREAD, LOW_RANK = 0.5, 1 / 3
# As of random text in an encoder that was never trained for similarity: mean cosines above 0.96.
NO_SPREAD = 0.2
# Relative to before training: less is a fall; no more than the second is no recovery from a bad start.
FALLEN, RECOVERED = 0.8, 1.1
# A student that began badly has this share of the steps to get better; the warm-up is over long before.
PATIENT_UNTIL = 0.5
# A dimension is dead when its deviation is less than this share of the mean one; so many more than the teacher has.
DEAD, MANY_DEAD = 0.01, 0.2

_NAMES = ("spread", "effective_rank", "mean_cosine", "dead_dimensions")


def measure_vectors(vectors_ND: Floats) -> dict[str, float]:
    """Figures of the vectors of distinct sentences, each scaled to length 1.

    Returns:
        `spread`: the root of the sum over dimensions of the variance; 0 where all are the same, at most 1.
        `effective_rank`: `exp(H)`, H the entropy of the singular values of the centred matrix, divided by their sum.
        `mean_cosine`: of all pairs of different sentences.
        `dead_dimensions`: the share of the dimensions that are the same for all sentences.

    Source: Roy and Vetterli (2007), The effective rank: a measure of effective dimensionality, EUSIPCO.
    """
    if len(vectors_ND) > MOST_ROWS:
        vectors_ND = vectors_ND[np.linspace(0, len(vectors_ND) - 1, MOST_ROWS).astype(np.int64)]
    unit_ND = unit_rows(vectors_ND).astype(np.float64)
    count = len(unit_ND)
    mean_D = unit_ND.mean(axis=0)
    centred_ND = unit_ND - mean_D
    variance_D = np.square(centred_ND).mean(axis=0)
    squares = float(np.square(unit_ND).sum())
    typical = math.sqrt(float(variance_D.mean()))
    return {
        "spread": math.sqrt(float(variance_D.sum())),
        "effective_rank": _effective_rank(centred_ND),
        "mean_cosine": (float(np.square(mean_D).sum()) * count**2 - squares) / max(1, count * (count - 1)),
        "dead_dimensions": float((np.sqrt(variance_D) <= DEAD * typical).mean()),
    }


def _effective_rank(centred_ND: Floats) -> float:
    smaller = centred_ND @ centred_ND.T if len(centred_ND) < centred_ND.shape[1] else centred_ND.T @ centred_ND
    values_K = np.sqrt(np.linalg.eigvalsh(smaller).clip(min=0))
    # What is left of exact zeros.
    values_K = values_K[values_K > 1e-6 * values_K.max(initial=0.0)]
    if not len(values_K):
        return 1.0
    share_K = values_K / values_K.sum()
    return float(np.exp(-(share_K * np.log(share_K)).sum()))


def vector_signs(student: Mapping[str, Floats], teacher: Mapping[str, Floats]) -> Signs:
    """The figures of student and teacher: means over the languages, and of each language.

    Args:
        student: language -> vectors of distinct sentences.
        teacher: language -> the teacher's vectors of the sources of the same.

    Returns:
        JSON values; empty where no language has enough sentences.
    """
    mine = {language: measure_vectors(vectors) for language, vectors in student.items() if len(vectors) >= LEAST_ROWS}
    if not mine:
        return {}
    theirs = {language: measure_vectors(teacher[language]) for language in mine if language in teacher}
    return {**_means(mine), "teacher": _means(theirs), "languages": {"student": mine, "teacher": theirs}}


def _means(figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in figures.values()])) for name in _NAMES} if figures else {}


def vector_alarms(signs: Signs, before: Signs, *, progress: float) -> Iterator[Alarm]:
    """What is wrong with the vectors of an evaluation.

    Args:
        signs: of `vector_signs`.
        before: the same, before training.
        progress: share of the steps that are done, 0 to 1; at 0 the teacher alone is looked at.
    """
    if not progress:
        yield from _teacher(signs)
        return
    mine, theirs = signs["languages"]["student"], signs["languages"]["teacher"]
    past = before.get("languages", {}).get("student", {})
    for kind, name, share, floor in (
        ("collapse", "spread", LOW_SPREAD, NO_SPREAD),
        ("rank", "effective_rank", LOW_RANK, 0.0),
    ):
        limits = {one: max(floor, share * theirs.get(one, {}).get(name, 0.0)) for one in mine}
        low = {
            one: limits[one] / max(mine[one][name], 1e-9)
            for one in mine
            if mine[one][name] < limits[one]
            and _is_bad(mine[one][name], past.get(one, {}).get(name), progress=progress)
        }
        if low:
            worst_first = sorted(low, key=lambda one: -low[one])
            yield _low(kind, name, signs, worst_first, before=before, severity=low[worst_first[0]])
            if kind == "collapse":
                # Vectors that are all but the same have no directions and no dimensions either.
                return
    dead, usual = signs["dead_dimensions"], signs["teacher"].get("dead_dimensions", 0.0)
    dead_before = before.get("dead_dimensions", 0.0)
    if dead > usual + MANY_DEAD and (dead > dead_before + MANY_DEAD or progress >= PATIENT_UNTIL):
        seen = f"{dead:.0%} of the dimensions are the same for all sentences (before training {dead_before:.0%})"
        yield Alarm("dead_dimensions", seen, dead / (usual + MANY_DEAD), ends=False)


def _teacher(signs: Signs) -> Iterator[Alarm]:
    figures = signs["teacher"]
    if figures and figures["spread"] < NO_SPREAD:
        seen = f"the mean cosine of its vectors of different sentences is {figures['mean_cosine']:.3f}"
        yield Alarm("teacher", seen, NO_SPREAD / max(figures["spread"], 1e-9), ends=True)


def _is_bad(value: float, before: float | None, *, progress: float) -> bool:
    """Whether a low value is a fall, or a bad start that nothing has come of."""
    if before is None:
        return progress >= PATIENT_UNTIL
    return value < FALLEN * before or (progress >= PATIENT_UNTIL and value < RECOVERED * before)


def _low(kind: str, name: str, signs: Signs, low: Sequence[str], *, before: Signs, severity: float) -> Alarm:
    """One alarm for all languages; of some of many it does not end a run."""
    every = len(low) == len(signs["languages"]["student"])
    worst = low[0]

    def figure(of: Signs) -> str:
        value = of.get(name)
        return "not known" if value is None else f"{value:.3f}" if name == "spread" else f"{value:.1f}"

    mine, theirs = signs["languages"]["student"][worst], signs["languages"]["teacher"].get(worst, {})
    past = before.get("languages", {}).get("student", {}).get(worst, {})
    where = "in all languages, worst in " if every and len(low) > 1 else f"in {len(low)} languages, worst in "
    seen = (
        f"{name.replace('_', ' ')} {figure(mine)} {where if len(low) > 1 else 'in '}{worst} (before training "
        f"{figure(past)}, teacher {figure(theirs)}), mean cosine of different sentences {mine['mean_cosine']:.3f}"
    )
    return Alarm(kind, seen, severity, ends=every)
