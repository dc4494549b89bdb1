"""JSON as its standard has it.

Of what comes from others, whatever the standard library lets pass, or stumbles over, is a ValueError; what we
write has no NaN.
"""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

# What people write is hardly ever deeper; what walks through a value calls itself for each level.
MOST_DEEP = 100


def parse(text: str) -> Any:
    """Parse JSON text.

    Raises:
        ValueError: it is not JSON, has a key twice in one object, half of a surrogate pair in a text, a number of
            thousands of digits, or is nested too deeply.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object)
        if text.count("[") + text.count("{") > MOST_DEEP:
            _refuse_depth(value)
        if "\\u" in text:
            _refuse_halves(value)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


def read(path: Path, *, most_bytes: int) -> Any:
    """Read a JSON file, of which no more than `most_bytes` are taken into memory.

    Raises:
        ValueError: see `parse`; or it is larger, or no plain file (a pipe would be waited for, a device has no end).
        OSError: it cannot be read.
    """
    # Without waiting: to open a pipe lasts until somebody writes into it.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is not a plain file")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it is too large: larger than {most_bytes} bytes")
    return parse(content.decode("utf-8"))


def without_nan(value: Any) -> Any:
    """A value with None for each number that is not finite, which JSON does not have; tuples become lists."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:100]!r} is there twice")
    return found


def _refuse_depth(value: Any) -> None:
    level = [value]
    for _ in range(MOST_DEEP):
        parents = [node for node in level if isinstance(node, dict | list)]
        level = [child for node in parents for child in (node.values() if isinstance(node, dict) else node)]
    if level:
        raise ValueError("it is nested too deeply")


def _refuse_halves(value: Any) -> None:
    """Half of a surrogate pair can be written as an escape in JSON, but is no text: nothing could be made of it."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a \\ud... escape without its other half: not valid Unicode text") from None
