"""`mlembed predict` as tests call it, and toy models to call it with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from heads import MANY, ONE, SCORE, WORDS_HEAD, write_classifier

from mlembed.cli import main

HEADS = {"one": ONE, "many": MANY, "score": SCORE, "words": WORDS_HEAD}


def write_models(folder: Path) -> dict[str, Path]:
    """A model with each head."""
    for name in HEADS:
        (folder / name).mkdir()
    return {name: write_classifier(folder / name, head) for name, head in HEADS.items()}


def predict(model: Path, source: str | Path, output: str | Path, *more: str) -> int:
    return main(["predict", str(model), "--input", str(source), "--output", str(output), "--device", "cpu", *more])


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
