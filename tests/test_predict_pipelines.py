"""An exported model with a head in the pipelines of transformers: the same labels and scores as `mlembed predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from heads import MANY, ONE, SCORE, TOKENIZERS, WORDS_HEAD, write_classifier
from toys import toy_sentences
from transformers import pipeline

from mlembed.cli import main

TEXTS = toy_sentences(9)


@pytest.fixture(scope="module", params=sorted(TOKENIZERS))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def predicted(model: Path, folder: Path, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    source, output = folder / "in.jsonl", folder / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert main(["predict", str(model), "--input", str(source), "--output", str(output), "--device", "cpu"]) == 0
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def test_labels(tmp_path: Path, family: str) -> None:
    folder = write_classifier(tmp_path, ONE, family=family)
    there = pipeline("text-classification", str(folder), device="cpu")(TEXTS, top_k=None, truncation=True)
    ours = predicted(folder, tmp_path, [{"text": text} for text in TEXTS])
    for theirs, row in zip(there, ours, strict=True):
        assert row["prediction"] == theirs[0]["label"]
        assert row["probabilities"] == pytest.approx({one["label"]: one["score"] for one in theirs}, abs=1e-5)


@pytest.mark.parametrize("head", [ONE, MANY, SCORE], ids=["one", "many", "score"])
def test_pairs(tmp_path: Path, family: str, head: Any) -> None:
    folder = write_classifier(tmp_path, head, family=family)
    pairs = list(zip(TEXTS, TEXTS[::-1], strict=True))
    there = pipeline("text-classification", str(folder), device="cpu")(
        [{"text": first, "text_pair": second} for first, second in pairs], top_k=None, truncation=True
    )
    ours = predicted(folder, tmp_path, [{"text": first, "text_b": second} for first, second in pairs])
    for theirs, row in zip(there, ours, strict=True):
        found = row.get("probabilities", {"score": row["prediction"]})
        assert found == pytest.approx({one["label"]: one["score"] for one in theirs}, abs=1e-5)


@pytest.mark.parametrize("strategy", ["simple", "first"])
def test_names(tmp_path: Path, family: str, strategy: str) -> None:
    if strategy == "simple" and family != "bert":
        pytest.skip("it has an answer for each part of a word, and ours is that of the first part")
    folder = write_classifier(tmp_path, WORDS_HEAD, family=family)
    there = pipeline("token-classification", str(folder), device="cpu", aggregation_strategy=strategy)(TEXTS)
    ours = predicted(folder, tmp_path, [{"text": text} for text in TEXTS])
    assert sum(map(len, there)) > 7
    for text, theirs, row in zip(TEXTS, there, ours, strict=True):
        # The space before a word belongs to its first token, and so to their names; not to ours.
        starts = [one["start"] + (text[one["start"]] == " ") for one in theirs]
        expected = [(one["entity_group"], start, one["end"]) for one, start in zip(theirs, starts, strict=True)]
        assert [(one["type"], one["start"], one["end"]) for one in row["prediction"]] == expected
        scores = [float(one["score"]) for one in theirs]
        assert [one["score"] for one in row["prediction"]] == pytest.approx(scores, abs=1e-5)
