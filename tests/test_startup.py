"""What is imported before it is needed: nothing heavy for help, for a configuration error, for a tab."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "numpy",
    "scipy",
    "sklearn",
    "pyarrow",
    "accelerate",
    "matplotlib",
    "rich",
    "optuna",
    "tensorboard",
    "wandb",
    "mlflow",
)
DRIVER = """
import sys
from mlembed.cli import main
try:
    sys.exit(main(sys.argv[2:]))
finally:
    print("\\nimported:", *sorted(set(sys.argv[1].split(",")) & set(sys.modules)), file=sys.stderr)
"""


def imported(modules: tuple[str, ...], *words: str) -> tuple[int, list[str]]:
    """The exit code of a command in a new process, and those of the modules that it imported."""
    command = [sys.executable, "-c", DRIVER, ",".join(modules), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr.splitlines()[-1].split()[1:]


@pytest.mark.parametrize("words", [["--help"], ["--version"], []])
def test_help_imports_next_to_nothing(words: list[str]) -> None:
    code, found = imported((*HEAVY, "hydra", "omegaconf", "pydantic", "argparse"), *words)
    assert (code, found) == (0 if words else 2, [])


@pytest.mark.parametrize(
    "words",
    [
        ["train", "+data.trian=x", "optimizer.lr=-1"],
        ["train", "-m", "optimizer.lr=-1,-2"],
        ["train", "loss=mze"],
        ["train", "--resume", "nowhere"],
        ["train", "trainer.metric=x"],
        ["eval"],
        ["check", "loss=mze"],
        ["check", "--sample", "many"],
        ["bench", "bench.rounds=0"],
        ["bench", "trainer.max_steps=3"],
        ["tune", "space.optimizer.lrr={kind:float,low:1,high:2}"],
        ["tune", "tune.trials=0"],
        ["embed"],
        ["push", "x", "y"],
        ["push", "x", "y/z"],
        ["predict"],
        ["predict", "x", "--input", "x", "--output", "x.csv"],
        ["runs", "ls", "nowhere"],
        ["runs", "ls", "--sort", "x"],
        ["runs", "compare", "."],
        ["cache", "cls"],
        ["cache", "clear", "--older-than", "-1"],
        ["trian"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_told_before_anything_heavy_is_imported(words: list[str]) -> None:
    assert imported(HEAVY, *words) == (2, [])


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--help"],
        ["train", "--cfg", "job"],
        ["check", "--help"],
        ["eval", "x", "--cfg", "job"],
        ["tune", "--cfg", "job"],
        ["cache", "clear", "--yes"],
        ["runs", "ls", ".", "--json"],
    ],
    ids=" ".join,
)
def test_showing_imports_nothing_heavy(words: list[str]) -> None:
    assert imported(HEAVY, *words) == (0, [])


def test_a_tab_imports_no_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "mlembed train optimizer.schedule=")
    assert imported((*HEAVY, "hydra", "omegaconf"), "-sc", "query=bash") == (0, [])


def test_the_driver_sees_what_is_imported() -> None:
    """Else the tests above would pass whatever happens."""
    assert imported(("hydra", "pydantic"), "train", "loss=mze") == (2, ["hydra", "pydantic"])
