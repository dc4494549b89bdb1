"""The page of a run directory and its pictures, made of what lies in the directory, so that they can be made again."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlembed.errors import ResourceError
from mlembed.files import write_atomically
from mlembed.report.plots import save_plots
from mlembed.run.directory import COMMAND, CONFIG, METRICS, PAGE, PLOTS
from mlembed.run.results import read_report

if TYPE_CHECKING:
    from mlembed.report.page.contents import Contents

log = logging.getLogger("mlembed")

# The student's own training, and the folders of those before it.
STUDENT_TRAINING = "the student"
STAGES = {"teacher": "the teacher, before the student", "zero_shot": "the zero-shot student, before the student"}
# What is read of a file of a run at most: its records are drawn as 240 points.
_MOST_BYTES = 200_000_000


def write_page(folder: Path) -> None:
    """Write report.html and the pictures at the end of a run; what goes wrong is a warning, as the run has ended well.

    Args:
        folder: of a run or an evaluation; its report.json is there.
    """
    try:
        make_page(folder)
    except Exception as error:  # a page is never worth a run
        log.warning("%s was not made: %s", folder / PAGE, error)
    else:
        log.info("the page: %s", folder / PAGE)


def make_page(folder: Path) -> None:
    """Write report.html and, where matplotlib is installed, the folder plots; a picture that fails is a warning.

    Args:
        folder: of a run or an evaluation.

    Raises:
        DataError: there is no report, or it cannot be read.
        ResourceError: the page cannot be written.
    """
    # Here, because a run that fails early needs no template engine.
    from mlembed.report.page.page import render

    contents = read_contents(folder)
    try:
        write_atomically(folder / PAGE, render(contents))
    except OSError as error:
        raise ResourceError(f"{folder / PAGE} cannot be written: {error}") from error
    try:
        save_plots(contents.report, folder / PLOTS, training=contents.training)
    except Exception as error:
        log.warning("the plots in %s were not made: %s", folder / PLOTS, error)


def read_contents(folder: Path) -> Contents:
    """Return what the page of a folder is made of; what is missing beside the report is left out.

    Args:
        folder: of a run or an evaluation.

    Raises:
        DataError: there is no report, or it cannot be read.
    """
    from mlembed.report.page.contents import Contents

    training = {STUDENT_TRAINING: _records(folder / METRICS)}
    training |= {words: _records(folder / stage / METRICS) for stage, words in STAGES.items()}
    return Contents(
        name=folder.resolve().name,
        report=read_report(folder),
        config=_config(folder / CONFIG),
        command=_last_line(folder / COMMAND),
        training={name: records for name, records in training.items() if records},
    )


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _records(path: Path) -> list[dict[str, Any]]:
    """The records of a file; lines that a kill cut short are left out."""
    records = []
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = file.readlines(_MOST_BYTES)
    except OSError:
        return []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "step" in record:
            records.append(record)
    return records


def _last_line(path: Path) -> str:
    """The command that ended the run, without the folder that it was given in."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return lines[-1].partition(" && ")[2] or lines[-1] if lines else ""
