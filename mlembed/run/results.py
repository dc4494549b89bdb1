"""The end of a run: its report on disk and on the screen, and the best student for other tools."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

from mlembed.errors import DataError
from mlembed.files import sync_folder, write_atomically
from mlembed.report.details import Details
from mlembed.report.report import Report
from mlembed.report.tables import markdown, terminal_table
from mlembed.run.directory import DETAILS, REPORT, REPORT_TEXT


def write_report(report: Report, folder: Path) -> None:
    """Write report.json, report.md, and details.json for the page; `write_page` makes the page of them."""
    # First, so that details are never those of an older report.
    write_atomically(folder / DETAILS, report.details.to_json())
    write_atomically(folder / REPORT, report.to_json())
    write_atomically(folder / REPORT_TEXT, markdown(report))


def read_report(folder: Path) -> Report:
    """Return the report of a folder, with its details where they are there.

    Raises:
        DataError: no report, or one that cannot be read.
    """
    try:
        report = Report.from_json((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{folder / REPORT} cannot be read: {error}") from error
    try:
        details = Details.from_json((folder / DETAILS).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, DataError):
        # Of a run before there were details, or a page less full.
        return report
    return dataclasses.replace(report, details=details)


def print_report(report: Report) -> None:
    """Show the one table of a run on standard output."""
    from rich.console import Console

    console = Console(file=sys.stdout)
    console.print(terminal_table(report, width=console.width))


def read_baseline(folder: Path) -> Report | None:
    """The report of an earlier start of the run, with what was measured before training; None when there is none."""
    try:
        return read_report(folder)
    except DataError:
        return None


def publish_student(checkpoint: Path, folder: Path, *, card: str) -> None:
    """Put a checkpoint's student where other tools find it, replacing an older one.

    Args:
        checkpoint: the student's folder in a checkpoint.
        folder: `RUN/student`.
        card: README.md.
    """
    staging, old = folder.with_name(f".{folder.name}-new"), folder.with_name(f".{folder.name}-old")
    for leftover in (staging, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(checkpoint, staging)
    (staging / "README.md").write_text(card, encoding="utf-8")
    if folder.exists():
        folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    sync_folder(folder.parent)
