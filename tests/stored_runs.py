"""Directories of runs and sweeps, written by hand: what `mlembed runs` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlembed.cli import main
from mlembed.report.estimate import Estimate
from mlembed.report.report import Report
from mlembed.run.sweep_folder import SweepJob, hold_sweep


def estimates(**values: float) -> dict[str, Estimate]:
    return {name: Estimate(value, value - 0.05, value + 0.05, 100) for name, value in values.items()}


def write_config(run: Path, *, seed: int = 1, metric: str = "retrieval", **more: Any) -> None:
    run.mkdir(parents=True, exist_ok=True)
    config = {
        "task": {"kind": "embedding"},
        "model": {"kind": "transplant", "teacher": {"name": "a teacher"}},
        "data": {"kind": "files", "languages": ["de", "fr"], "source_language": "en"},
        "seed": seed,
        "trainer": {"metric": metric},
        "run": {"dir": run.name},
    }
    (run / "config.json").write_text(json.dumps(config | more), encoding="utf-8")
    (run / "command.txt").write_text("cd /x && mlembed train\n", encoding="utf-8")


def write_run(
    run: Path, *, de: float = 0.5, fr: float = 0.5, before: float = 0.1, began: float = 1e9, **more: Any
) -> Path:
    """A finished run."""
    write_config(run, **more)
    systems = {
        "teacher": {"de": estimates(retrieval=0.05), "fr": estimates(retrieval=0.05)},
        "before": {"de": estimates(retrieval=before), "fr": estimates(retrieval=before)},
        "after": {
            "de": estimates(retrieval=de, margin_error=1 - de),
            "fr": estimates(retrieval=fr, margin_error=1 - fr),
        },
    }
    metadata = {"steps": 20, "best_step": 16, "seconds": 65.0, "began": began, "of": {"test data": "abc"}}
    report = Report(systems, test_set="20 rows", metadata=metadata)
    (run / "report.json").write_text(report.to_json(), encoding="utf-8")
    return run


def write_sweep(sweep: Path, *values: float) -> Path:
    """A sweep over seeds with a finished job for each value, and one that has not begun."""
    jobs = [SweepJob.of(f"seed={seed}", {"seed": seed}) for seed in range(len(values) + 1)]
    with hold_sweep(sweep, jobs, command="mlembed train -m seed=0,1"):
        for seed, value in enumerate(values):
            write_run(sweep / str(seed), de=value, fr=value, seed=seed)
    return sweep


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["runs", *words, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)
