"""A toy teacher with its store, and a shard size that makes a few sentences many shards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mlembed import teaching
from mlembed.compute import Compute, Processes
from mlembed.machine import Machine
from mlembed.models.encoder import load_encoder
from mlembed.signals import StopRequest
from mlembed.teaching import Teaching

CPU = torch.device("cpu")


def machine_of(precision: str = "fp32") -> Machine:
    return Machine(Compute(CPU, precision), Processes(CPU), StopRequest(), "none", 256)


def teaching_of(folder: Path, *, precision: str = "fp32", max_length: int | None = None) -> Teaching:
    """A teacher of a folder, as a run has it."""
    from mlembed.fingerprint import folder_fingerprint

    teacher = load_encoder(folder, key="k", max_length=max_length)
    return Teaching(teacher, name="toy", fingerprint=folder_fingerprint(folder), machine=machine_of(precision))


def shards(cache: Path) -> list[Path]:
    return sorted(cache.glob("teachers/*/*.vectors"))


def small_shards(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(teaching, "SHARD_TEXTS", count)
