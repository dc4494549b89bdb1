"""What the verbs show: tables and notes, on the terminal or as a page of HTML that needs nothing else."""

from __future__ import annotations

import base64
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import ConfigError
from mlembed.files import write_atomically

if TYPE_CHECKING:
    from rich.text import Text

# How a row looks on the terminal; on a page its name is a class.
STYLES = {"": "", "group": "bold", "best": "green", "running": "cyan", "failed": "red", "broken": "red", "mean": "bold"}
# What is read by a program, or by a person later, is not cut to a width that nobody has.
FILE_WIDTH = 200


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        cells: texts.
        style: a key of STYLES.
    """

    cells: list[str]
    style: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a heading.

    Args:
        title: above it; may be empty.
        head: the names of the columns.
        rows: as long as the head each.
        left: how many columns are texts, at the left; the others are numbers.
    """

    title: str
    head: list[str]
    rows: list[Row] = field(default_factory=list)
    left: int = 1


@dataclass(frozen=True)
class Lines:
    """Lines that are shown as they are.

    Args:
        title: above them.
        lines: texts.
    """

    title: str
    lines: list[str]


@dataclass(frozen=True)
class Sheet:
    """All that a verb shows.

    Args:
        title: of the page.
        parts: from top to bottom; a text is a note.
        picture: a PNG file for the page, where it exists.
    """

    title: str
    parts: list[Table | Lines | str]
    picture: bytes | None = None


def printable(text: str) -> str:
    """A text from a file without what a terminal would obey: escape sequences, and marks that turn text around."""
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)


def width() -> int:
    """The columns that can be shown."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else FILE_WIDTH


def print_sheet(sheet: Sheet) -> None:
    """Show a sheet on standard output."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console(file=sys.stdout, width=width(), highlight=False)
    for number, part in enumerate(sheet.parts):
        if number:
            console.print()
        if isinstance(part, str):
            console.print(_text(part))
            continue
        if part.title:
            console.print(_text(part.title, style="bold"))
        if isinstance(part, Lines):
            for line in part.lines:
                console.print(_text(line))
            continue
        table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, show_header=any(part.head))
        for column, name in enumerate(part.head):
            is_text = column < part.left
            table.add_column(_text(name), justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
        for row in part.rows:
            table.add_row(*(_text(cell) for cell in row.cells), style=STYLES[row.style])
        console.print(table)


def _text(text: str, *, style: str = "") -> Text:
    """Not markup: a folder may be called [red]."""
    from rich.text import Text

    return Text(printable(text), style=style)


def write_page(sheet: Sheet, path: Path) -> None:
    """Write a sheet as one file of HTML, which loads nothing from elsewhere.

    Raises:
        ConfigError: it cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("mlembed.runs", "."), autoescape=True, undefined=StrictUndefined)
    environment.filters["printable"] = printable
    environment.tests["lines"] = lambda part: isinstance(part, Lines)
    picture = base64.b64encode(sheet.picture).decode("ascii") if sheet.picture else ""
    page = environment.get_template("page.html").render(sheet=sheet, picture=picture)
    try:
        write_atomically(path, page)
    except OSError as error:
        raise ConfigError(f"--html: {path} cannot be written: {error.strerror}") from error
    print(f"page: {path}", file=sys.stderr)
