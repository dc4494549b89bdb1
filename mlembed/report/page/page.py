"""The page of a report: one HTML file that needs nothing else, no network and no script."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mlembed import __version__
from mlembed.report.metrics import METRICS
from mlembed.report.page.bars import BarChart, bar_chart
from mlembed.report.page.contents import Contents
from mlembed.report.page.curves import DrawnCurve, drawn, training_curves
from mlembed.report.page.grids import confusion_grids, label_grid, similarity_grids
from mlembed.report.page.lists import hard_rows, language_tag, metric_tables, other_tables
from mlembed.report.page.scatter import SIDE, sentence_map
from mlembed.report.page.story import tell
from mlembed.report.report import Report
from mlembed.report.systems import system_words

log = logging.getLogger("mlembed")

TEMPLATE, STYLE = "page.html.j2", "page.css"
# Metrics that have bars beside the main one.
_ALSO_BARS = ("sts", "sts_cross", "cosine", "accuracy")
_HERE = Path(__file__).parent

Part = TypeVar("Part")


def render(contents: Contents) -> str:
    """Return the page.

    Its size is bounded whatever was tested: at most 60 languages are compared with one another, 12 sentences are on the
    map, 36 hard rows are shown, 13 confusion matrices of 60 labels, 240 points a curve, 240 characters a text. Tables
    alone grow, by a row a language.

    Args:
        contents: what was asked, and what came out. Texts of it are text on the page, whatever they hold.
    """
    report = contents.report
    style = (_HERE / STYLE).read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(TEMPLATE).render(
        # The one part that is not escaped is a file of ours.
        style=Markup(style),  # noqa: S704 - of the package, not of the data
        style_hash=f"sha256-{digest}",
        version=__version__,
        contents=contents,
        report=report,
        tag=language_tag,
        known_systems=tuple(_WORDED),
        systems=[(name, system_words(report, name)) for name in report.systems],
        story=tell(contents),
        side=SIDE,
        tables=metric_tables(report),
        # The page has its words and tables, whatever happens to a figure.
        bars=_part(lambda: _bars(report)),
        curves=_part(lambda: _curves(contents)),
        similarity=_part(lambda: similarity_grids(report)),
        map=_part(lambda: sentence_map(report)),
        confusions=_part(lambda: confusion_grids(report)),
        labels=_part(lambda: label_grid(report)),
        hard=_part(lambda: hard_rows(report)),
        others=_part(lambda: other_tables(report)),
    )


# Systems that have a color of their own.
_WORDED = ("majority", "tfidf", "teacher", "before", "after", "student")


def _part(make: Callable[[], Part]) -> Part | None:
    """Return a part of the page; None where it cannot be made, of data that somebody has changed by hand."""
    try:
        return make()
    except Exception as error:
        log.warning("a part of the page was left out: %r", error)
        return None


def _bars(report: Report) -> list[BarChart]:
    main = report.main_metric()
    wanted = [one for one in dict.fromkeys((main, *_ALSO_BARS)) if one in METRICS and one in report.metrics()]
    return [chart for metric in wanted if metric is not None and (chart := bar_chart(report, metric)) is not None]


def _curves(contents: Contents) -> list[tuple[str, list[DrawnCurve]]]:
    found: list[tuple[str, list[DrawnCurve]]] = []
    for training, records in contents.training.items():
        if curves := [drawn(curve) for curve in training_curves(records)]:
            found.append((training, curves))
    return found
