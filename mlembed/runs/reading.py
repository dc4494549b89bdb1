"""Reading files that anybody may have written: plain files alone, up to a size, and nothing but text and JSON."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlembed.errors import DataError
from mlembed.files import open_plain_file
from mlembed.run.directory import LOG, METRICS
from mlembed.run.run_log import FAILED

# Of a log, and of the metrics of a run, the end is enough.
TAIL_BYTES = 1 << 16
RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?P<level>[A-Z]+) (?P<message>.*)")


def read_json(path: Path, *, most_bytes: int) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: it cannot be read, is too large, or is not JSON.
    """
    text = read_text(path, most_bytes=most_bytes)
    try:
        return json.loads(text)
    except RecursionError:
        raise DataError(f"{path.name} is nested too deeply") from None
    except ValueError as error:
        raise DataError(f"{path.name} is not JSON: {error}") from error


def read_text(path: Path, *, most_bytes: int) -> str:
    """The content of a text file.

    Raises:
        DataError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        with os.fdopen(open_plain_file(path), "rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}") from error
    if len(content) > most_bytes:
        raise DataError(f"{path.name} has more than {most_bytes} bytes, which is none of ours")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8: {error}") from error


def last_lines(path: Path) -> list[str]:
    """The whole lines at the end of a file, some hundred at most; none where it cannot be read."""
    try:
        with os.fdopen(open_plain_file(path), "rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
            file.seek(start)
            lines = file.read(TAIL_BYTES).decode("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return lines[1:] if start else lines


def last_step(run: Path) -> int | None:
    """The last training step that a run noted; None before the first."""
    for line in reversed(last_lines(run / METRICS)):
        try:
            step = json.loads(line)["step"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(step, int):
            return step
    return None


def failure(run: Path) -> str | None:
    """Why a run failed, if its log ends with that."""
    found = [match for line in last_lines(run / LOG) if (match := RECORD.fullmatch(line))]
    if not found or found[-1]["level"] != "ERROR" or not found[-1]["message"].startswith(FAILED):
        return None
    return found[-1]["message"].removeprefix(FAILED)


def sizes(folder: Path) -> int:
    """The bytes of the files in a folder and below it; links are not followed."""
    return sum(_file_sizes(folder))


def _file_sizes(folder: Path) -> Iterator[int]:
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                yield Path(place, name).lstat().st_size
            except OSError:
                continue
