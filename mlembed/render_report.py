"""`mlembed report`: the page and pictures of a finished run or evaluation once more, from what lies in its folder."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from mlembed.errors import ConfigError
from mlembed.run.directory import PAGE, REPORT, hold
from mlembed.run.page import make_page
from mlembed.run.run_log import logging_to


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code.

    Args:
        words: the command line after `report`.

    Raises:
        MlembedError: with a message for the user and an exit code.
    """
    parser = argparse.ArgumentParser(
        prog="mlembed report",
        description="Write report.html and the pictures in plots/ once more, from the other files of a finished run or "
        "evaluation. Nothing is measured.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help="the folder of a run or an evaluation")
    for folder in parser.parse_args(words).runs:
        if not (folder / REPORT).is_file():
            raise ConfigError(f"{folder}: there is no {REPORT}; give the folder of a finished run or evaluation")
        with hold(folder), logging_to(None, quiet=False):
            make_page(folder)
            logging.getLogger("mlembed").info("%s", folder / PAGE)
    return 0
