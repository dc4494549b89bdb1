"""What a page is made of: what a run directory holds, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlembed.report.report import Report

Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Contents:
    """A finished run or evaluation.

    Args:
        name: what the page is called.
        report: its results, with their details.
        config: what was asked, as `config.json` holds it; empty: not known.
        command: the command line; empty: not known.
        training: training -> records of its steps and evaluations, as `metrics.jsonl` holds them: "student", and the
            stages before it.
    """

    name: str
    report: Report
    config: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    training: Mapping[str, Records] = field(default_factory=dict)

    def asked(self, *keys: str) -> Any:
        """Return a value of the configuration; None where it is not there."""
        value: Any = self.config
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value
