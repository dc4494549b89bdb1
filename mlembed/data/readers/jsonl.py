"""Reads JSON Lines: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mlembed.data.readers.lines import text_lines
from mlembed.data.readers.options import ReadOptions
from mlembed.data.records import BadRecord, Record
from mlembed.strict_json import parse


def read_jsonl(path: Path, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Read a JSONL file.

    Args:
        path: `.jsonl` or `.ndjson`, also with `.gz`; UTF-8 with or without BOM.
        options: `on_skip` hears of blank lines; the rest does not matter.

    Yields:
        A Record a line, with the values as JSON has them; a BadRecord for a line that is not an object.
    """
    name = str(path)
    for line, text in enumerate(text_lines(path), 1):
        if isinstance(text, BadRecord):
            yield text
            continue
        if not text.strip():
            options.on_skip("blank_line", 1)
            continue
        try:
            values = parse(text)
        except json.JSONDecodeError as error:
            yield BadRecord(name, line, f"not JSON: {error.msg} at column {error.colno}; each line is one object")
        except (
            ValueError
        ) as error:  # a key twice, nesting without end, an integer of thousands of digits, half a surrogate pair
            yield BadRecord(name, line, f"not usable JSON: {error}")
        else:
            yield _record(values, name=name, line=line)


def _record(values: object, *, name: str, line: int) -> Record | BadRecord:
    if not isinstance(values, dict):
        return BadRecord(name, line, f'a JSON object like {{"source": ...}} expected, {type(values).__name__} found')
    return Record(values, name, line)
