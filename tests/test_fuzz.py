"""A few hundred changed inputs of each kind, always the same ones; `make fuzz` reads many more."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from fuzzing.targets import TARGETS
from fuzzing.worker import MIB, Limits, fuzz, kind_of, replay

# Those that load a model, or parse a command line, take milliseconds for each.
SLOW = {"student": 40, "classifier": 30, "checkpoint": 40, "overrides": 40}


@pytest.mark.parametrize("name", TARGETS)
def test_changed_inputs_are_read_or_refused_with_a_clear_error(name: str, tmp_path: Path) -> None:
    inputs = SLOW.get(name, 250)
    found = fuzz(name, inputs=inputs, seed=0, limits=Limits(memory=1024 * MIB, seconds=20), findings=tmp_path)
    assert found.findings == {}
    assert found.inputs == inputs
    # A change seldom leaves all as it was: something must have been refused, where reading raises.
    assert found.errors or name in ("manifest", "cache")


def test_what_breaks_something_is_found_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of another class, a crash of a library, and what takes too long or too much."""

    def broken(folder: Path, choice: int) -> None:
        content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        kind = sum(content) % 40
        if kind == 0:
            raise KeyError("a mistake")
        if kind == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == 2:
            bytearray(1 << 31)
        while kind == 3:
            pass

    monkeypatch.setitem(TARGETS, "tsv", replace(TARGETS["tsv"], read=lambda folder, choice: None))
    assert fuzz("tsv", inputs=50, seed=0, limits=Limits()).findings == {}
    monkeypatch.setitem(TARGETS, "tsv", replace(TARGETS["tsv"], read=broken, seeds=lambda: [{"data.tsv": b"\x05"}]))
    found = fuzz("tsv", inputs=400, seed=0, limits=Limits(memory=1024 * MIB, seconds=0.3), findings=tmp_path)
    kinds = {kind_of(problem).split()[-1] for problem in found.findings.values()}
    assert kinds == {"KeyError", "9", "MemoryError", "fuzzing.worker.TooSlow"}
    assert found.inputs >= 400
    kept = {folder.name for folder in tmp_path.iterdir()}
    assert kept == set(found.findings)
    (name,) = [name for name, problem in found.findings.items() if "KeyError" in problem]
    assert "a mistake" in str(replay("tsv", tmp_path / name))
