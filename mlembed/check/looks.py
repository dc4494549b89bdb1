"""One check: what was found so far, what is known besides, and what could not be looked at."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mlembed.check.findings import Finding, Mark, Rows, Severity, ShownRow, finding_of
from mlembed.check.options import CheckOptions
from mlembed.config import TrainConfig
from mlembed.data.parallel import ReadCounts
from mlembed.errors import DATA, DONE, Interrupted, MlembedError
from mlembed.machine import Machine

PLACE = re.compile(r"(?P<file>.*?):(?P<line>\d+): (?P<problem>.*)", re.DOTALL)


@dataclass
class Looks:
    """What a check gathers.

    Args:
        config: the configuration, as it was given.
        options: where findings go.
        machine: what it computes with.
        findings: in the order in which they were made.
        about: what is known of data, models and costs, as JSON values.
        seconds: what each look took.
        failed: the exit code of what training would end with, beside bad data.
    """

    config: TrainConfig
    options: CheckOptions
    machine: Machine
    findings: list[Finding] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: int = DONE

    @property
    def exit_code(self) -> int:
        """0 where training would go through, or the code that it would end with."""
        if any(one.severity == "stops" and one.kind != "failed" for one in self.findings):
            return DATA
        return self.failed

    @contextlib.contextmanager
    def looking(self, what: str) -> Iterator[None]:
        """Go on after an error that training would end with; it becomes a finding."""
        started = time.perf_counter()
        try:
            yield
        except Interrupted:
            raise
        except MlembedError as error:
            self.failed = self.failed or error.exit_code
            self.findings.append(Finding("failed", "stops", 1, messages=[f"{what}: {error}"]))
        finally:
            self.seconds[what] = round(self.seconds.get(what, 0.0) + time.perf_counter() - started, 2)

    def add_marks(self, marks: Sequence[Mark], rows: Rows, *, prefix: str = "") -> None:
        """Make findings of marked rows.

        Args:
            marks: the marks.
            rows: what they number.
            prefix: what messages begin with.
        """
        for mark in marks:
            found = finding_of(mark, rows, severity=self.severity(mark.kind))
            self.findings.append(found if not prefix else _named(found, prefix))

    def severity(self, kind: str) -> Severity:
        """What training would do about rows of a kind."""
        data = self.config.data
        if kind == "bad_row":
            return "stops" if data.on_error == "stop" else "left out"
        is_left_out = {"duplicate": data.drop_duplicates, "leak": data.drop_leaks, "leak_normalised": data.drop_leaks}
        return "left out" if is_left_out.get(kind, False) else "warns"

    def add_counts(self, part: str, counts: ReadCounts | Mapping[str, Any]) -> None:
        """Take note of what was read of a part, and of its bad rows."""
        if isinstance(counts, ReadCounts):
            known = {name: getattr(counts, name) for name in ReadCounts.__dataclass_fields__}
            counts = {**known, "filtered": dict(counts.filtered)}
        self.about.setdefault("read", {})[part] = {name: counts[name] for name in ("read", "bad", "filtered", "kept")}
        self.about["read"][part]["languages"] = counts["kept_by_language"]
        if counts["bad"]:
            rows = [_placed(text) for text in counts["bad_examples"]]
            bad = Finding("bad_row", self.severity("bad_row"), counts["bad"], rows=rows, messages=[f"in data.{part}"])
            self.findings.append(bad)

    def add_unreadable(self, part: str, unreadable: Mapping[str, str]) -> None:
        """Files that training would end at."""
        if unreadable:
            messages = [f"data.{part}: {why}" for why in unreadable.values()]
            self.findings.append(Finding("unreadable", "stops", len(unreadable), messages=messages))


def marked(marks: Sequence[Mark], count: int) -> np.ndarray:
    """Which of N rows have a mark."""
    is_marked_N = np.zeros(count, dtype=bool)
    for mark in marks:
        is_marked_N[mark.rows_M] = True
    return is_marked_N


def _placed(text: str) -> ShownRow:
    found = PLACE.fullmatch(text)
    if found is None:
        return ShownRow(text, 0, "", "", "")
    return ShownRow(found["file"], int(found["line"]), "", "", "", found["problem"])


def _named(finding: Finding, prefix: str) -> Finding:
    return replace(finding, messages=[prefix, *finding.messages])
