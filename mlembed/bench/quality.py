"""Whether what was trained faster is as good: the students of all sides on the same held-out rows."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlembed.machine import Machine
from mlembed.models.encoder import load_encoder
from mlembed.report.report import Report
from mlembed.tasks.held_out import HeldOut

# What is judged, where it is measured, and by how many points (of 100) mlembed may be worse: that much is chance.
JUDGED = ("retrieval", "sts", "sts_cross")
TOLERANCE = 0.5


@dataclass(frozen=True)
class Judgment:
    """One metric of mlembed beside a peer's; means over the languages, in points of 100.

    Args:
        metric: its name.
        own: of mlembed.
        peer: of the peer.
    """

    metric: str
    own: float
    peer: float

    @property
    def is_no_worse(self) -> bool:
        """Whether mlembed is at most `TOLERANCE` below; what is not a number is worse."""
        return self.own >= self.peer - TOLERANCE


def measure(folders: Mapping[str, Path], *, test: HeldOut, machine: Machine, seed: int) -> Report:
    """Measure model folders.

    Args:
        folders: what each is called -> where it lies; the report is about the last one.
        test: the held-out rows.
        machine: what it computes with.
        seed: of the bootstrap.
    """
    systems = {}
    for name, folder in folders.items():
        encoder = load_encoder(folder, key=name).to(machine.compute.device)
        systems[name] = test.measure(functools.partial(machine.encode, encoder, what="quality"), seed=seed)
    return Report(systems, test_set=test.name)


def judge(report: Report, *, own: str, peer: str) -> list[Judgment]:
    """Each metric that both were measured in.

    Args:
        report: of `measure`.
        own: what mlembed is called there.
        peer: what the peer is called there.
    """
    judgments = []
    for metric in JUDGED:
        if metric in report.metrics():
            values = [100 * report.mean(metric, system=system) for system in (own, peer)]
            judgments.append(Judgment(metric, *values))
    return judgments
