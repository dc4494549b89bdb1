"""docs/faults.md names a test for each fault, and each of these tests is there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
TABLE = TESTS.parent / "docs" / "faults.md"
FAULTS = (1, 2, 3, 4, 5, 7, 9, 10, 11, 13, 15, 16, 17, 18, 19, 20, 22, 23, 24, 25, 27, 28, 29)


def test_every_fault_has_tests_that_are_there() -> None:
    rows = dict(re.findall(r"^\| F(\d+) \|(.*)\|$", TABLE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert tuple(map(int, rows)) == FAULTS
    missing = []
    for fault, row in rows.items():
        named = re.findall(r"`(test_\w+)::(test_\w+)`", row)
        assert named, f"F{fault} has no test"
        missing += [
            f"F{fault} {file}::{test}"
            for file, test in named
            if f"def {test}(" not in (TESTS / f"{file}.py").read_text(encoding="utf-8")
        ]
    assert missing == []
