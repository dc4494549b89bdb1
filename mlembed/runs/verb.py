"""`mlembed runs`: runs and sweeps, listed, shown, and compared."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlembed.errors import ConfigError
from mlembed.report.metrics import parse_metric
from mlembed.runs.listing import jobs_in_order, list_json, list_sheet, ordered
from mlembed.runs.sheet import Sheet, print_sheet, width, write_page
from mlembed.runs.stored_run import StoredRun
from mlembed.runs.stored_sweep import find
from mlembed.strict_json import without_nan

# Characters beside one another on a page, which can be scrolled.
PAGE_WIDTH = 10_000


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code.

    Args:
        words: the command line after `runs`.

    Raises:
        MlembedError: with a message for the user and an exit code.
    """
    options = _parse(words)
    {"ls": _list, "show": _show, "compare": _compare}[options.action](options)
    return 0


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mlembed runs", description="What runs and sweeps asked for, how far they are, and what came of them."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ls|show|compare")
    ls = actions.add_parser("ls", help="list runs and sweeps", description="List the runs and sweeps below a folder.")
    ls.add_argument("folder", nargs="?", type=Path, default=Path("runs"), metavar="FOLDER", help="default: runs")
    ls.add_argument("--sort", metavar="METRIC", help="best first, by a metric such as retrieval or retrieval/de")
    show = actions.add_parser("show", help="all about one run or sweep", description="Show one run, or one sweep.")
    show.add_argument("run", type=Path, metavar="RUN")
    compare = actions.add_parser(
        "compare",
        help="what differs between runs",
        description="Compare the configurations and the results of finished runs with those of the first.",
    )
    compare.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="a run, or a sweep: its jobs, the best first"
    )
    compare.add_argument("--metric", metavar="METRIC", help="what is shown by language; default: what decides")
    for action in (ls, show, compare):
        action.add_argument("--json", action="store_true", help="as JSON, for programs")
        action.add_argument("--html", type=Path, metavar="FILE", help="as a page, in one file")
    return parser.parse_args(words)


def _list(options: argparse.Namespace) -> None:
    if options.sort is not None:
        parse_metric(options.sort)
    found = ordered(find(options.folder), metric=options.sort)
    about: dict[str, Any] = {"folder": options.folder, "metric": options.sort}
    _put_out(options, lambda: list_sheet(found, **about), lambda: list_json(found, **about))


def _show(options: argparse.Namespace) -> None:
    from mlembed.runs.showing import run_document, run_sheet, sweep_document, sweep_sheet

    found = find(options.run)
    if len(found) != 1 or found[0].path != options.run:
        raise ConfigError(f"{options.run} is neither a run nor a sweep; see mlembed runs ls {options.run}")
    (one,) = found
    if isinstance(one, StoredRun):
        _put_out(options, lambda: run_sheet(one), lambda: run_document(one))
    else:
        _put_out(options, lambda: sweep_sheet(one), lambda: sweep_document(one))


def _compare(options: argparse.Namespace) -> None:
    from mlembed.runs.comparing import Comparison, comparison_json
    from mlembed.runs.side_by_side import comparison_sheet

    if options.metric is not None:
        parse_metric(options.metric)
    runs, left_out = _finished(options.runs)
    comparison = Comparison(runs)
    notes = [f"Left out, without results: {run.path} ({run.state})" for run in left_out]

    def sheet() -> Sheet:
        # A page is as wide as it has to be.
        wide = width() if options.html is None else PAGE_WIDTH
        found = comparison_sheet(comparison, metric=options.metric, width=wide)
        return Sheet(found.title, [*found.parts, *notes])

    _put_out(options, sheet, lambda: comparison_json(comparison))


def _finished(paths: Sequence[Path]) -> tuple[list[StoredRun], list[StoredRun]]:
    """The finished runs that paths mean, each once, and those that are not finished."""
    runs: dict[Path, StoredRun] = {}
    for path in paths:
        found = find(path)
        if not found:
            raise ConfigError(f"there is neither a run nor a sweep in {path}")
        for one in found:
            jobs = [one] if isinstance(one, StoredRun) else jobs_in_order(one, metric=None)
            runs |= {run.path.resolve(): run for run in jobs if run.path.resolve() not in runs}
    finished = [run for run in runs.values() if run.report is not None]
    return finished, [run for run in runs.values() if run.report is None]


def _put_out(options: argparse.Namespace, sheet: Callable[[], Sheet], document: Callable[[], Any]) -> None:
    if options.html is not None:
        write_page(sheet(), options.html)
    if options.json:
        print(json.dumps(without_nan(document()), indent=2, ensure_ascii=False))
    elif options.html is None:
        print_sheet(sheet())
