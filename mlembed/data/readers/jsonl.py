"""Reads JSON Lines: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mlembed.data.readers.lines import text_lines
from mlembed.data.readers.options import ReadOptions
from mlembed.data.records import BadRecord, Record


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
            values = json.loads(text)
        except json.JSONDecodeError as error:
            yield BadRecord(name, line, f"not JSON: {error.msg} at column {error.colno}; each line is one object")
        except (RecursionError, ValueError) as error:  # nesting without end; an integer of thousands of digits
            yield BadRecord(name, line, f"not usable JSON: {error}")
        else:
            yield _record(values, text=text, name=name, line=line)


def _record(values: object, *, text: str, name: str, line: int) -> Record | BadRecord:
    if not isinstance(values, dict):
        return BadRecord(name, line, f'a JSON object like {{"source": ...}} expected, {type(values).__name__} found')
    if "\\ud" in text or "\\uD" in text:  # half of a surrogate pair is valid JSON, but no text
        try:
            json.dumps(values, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return BadRecord(name, line, "a \\ud... escape without its other half: not valid Unicode text")
    return Record(values, name, line)
