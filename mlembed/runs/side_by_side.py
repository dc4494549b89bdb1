"""The tables of `mlembed runs compare`: a column for each run, as many beside one another as the width allows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from string import ascii_uppercase

from mlembed.report.metrics import METRICS, parse_metric
from mlembed.runs.comparing import Comparison, Difference
from mlembed.runs.defaults import shown
from mlembed.runs.sheet import Row, Sheet, Table

# Characters of the names at the left, and of a value with its difference.
FIRST_COLUMN, COLUMN = 34, 16
NOISE = "~"
LEGEND = (
    "Differences are to {first}. {noise} marks one that may be chance: 0 is in its 95 % interval, made from the "
    "bootstrap intervals of both runs as if they had been tested on different rows. On the same rows chance is "
    "smaller, so what is not marked is a difference."
)


def comparison_sheet(comparison: Comparison, *, metric: str | None, width: int) -> Sheet:
    """What `runs compare` shows.

    Args:
        comparison: the runs.
        metric: what is shown by language; None: the metric that decides in the first run.
        width: the columns of the terminal.
    """
    names = [letters(number) for number in range(len(comparison.runs))]
    legend = [Row([name, str(run.path), run.start]) for name, run in zip(names, comparison.runs, strict=True)]
    settings = [Row([key, *map(shown, values)]) for key, values in comparison.settings().items()]
    means = [Row([METRICS[one].title, *_means(comparison, one)]) for one in comparison.metrics]
    parts: list[Table | str] = [
        Table("Runs", ["", "run", "student"], legend, left=3),
        *_tables("Configuration: what differs", names, settings, width=width, left=len(names) + 1),
        *([] if settings else ["The configurations do not differ."]),
        *_tables("Means over the languages", names, means, width=width),
    ]
    if (metric := metric or comparison.main_metric()) is not None:
        name = parse_metric(metric)[0]
        languages = [Row([one, *_values(comparison, name, one)]) for one in comparison.languages]
        languages.append(Row(["mean", *_means(comparison, name)], style="mean"))
        parts += _tables(f"{METRICS[name].title} by language", names, languages, width=width)
    parts += [LEGEND.format(first=names[0], noise=NOISE), *comparison.notes()]
    return Sheet(f"{len(names)} runs side by side", [*parts])


def _values(comparison: Comparison, metric: str, language: str) -> list[str]:
    cells = []
    for run in comparison.runs:
        estimate = comparison.estimate(run, metric, language)
        value = math.nan if estimate is None else estimate.value
        cells.append(_with_difference(metric, value, comparison.difference(run, metric, language)))
    return cells


def _means(comparison: Comparison, metric: str) -> list[str]:
    runs = comparison.runs
    return [_with_difference(metric, run.value(metric), comparison.mean_difference(run, metric)) for run in runs]


def _with_difference(metric: str, value: float, difference: Difference | None) -> str:
    """`95.8 +0.4 ~`: the value, how it differs from the first run's, and whether that may be chance."""
    known = METRICS[metric]
    if difference is None or math.isnan(difference.value):
        return known.format(value)
    mark = {True: NOISE, False: " ", None: "?"}[difference.is_noise]
    return f"{known.format(value)} {difference.value * known.scale:+.{known.digits}f} {mark}"


def _tables(title: str, names: Sequence[str], rows: Sequence[Row], *, width: int, left: int = 1) -> Iterator[Table]:
    """One table, or several where the runs do not fit beside one another; the first run is in each."""
    room = max(1, (width - FIRST_COLUMN) // COLUMN - 1)
    for start in range(1, len(names) if rows else 0, room):
        chosen = [0, 1, *range(start + 1, min(start + 1 + room, len(names) + 1))]
        cut = [Row([row.cells[at] for at in chosen], style=row.style) for row in rows]
        yield Table(title, ["", *(names[at - 1] for at in chosen[1:])], cut, left=left)


def letters(number: int) -> str:
    """A, B, … Z, AA, AB: short names for runs."""
    name = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, len(ascii_uppercase))
        name = ascii_uppercase[digit] + name
    return name
