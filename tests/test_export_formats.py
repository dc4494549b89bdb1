"""`mlembed export --to ...`: each format answers as the model does, in the tool that it is for and in a new process."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from exporting import SAVE, SENTENCES, TEXTS, export, projected, run_snippet, static_encoder, vectors, write
from heads import MANY, ONE, SCORE, WORDS_HEAD, write_classifier
from toys import toy_command, toy_encoder, write_toy_data, write_toy_model

from mlembed.cli import main
from mlembed.models.encoder import load_encoder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a second."""
    folder = tmp_path_factory.mktemp("trained")
    write_toy_model(folder / "teacher")
    write_toy_data(folder / "data.tsv", count=60)
    more = ["data.languages=[xx]", "trainer.max_steps=2", f"run.dir={folder / 'run'}", "trainer.progress=none"]
    assert main([*toy_command(folder), *more]) == 0
    return folder / "run"


@pytest.mark.slow
def test_the_run_s_onnx_folder_in_a_process_without_mlembed(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(trained, tmp_path / "onnx", "--to", "onnx", "--prune-vocabulary", "--keep-tokens", "99") == 0
    said = capsys.readouterr().err
    assert re.search(r"read by onnxruntime, \d+ texts: largest difference to the model \d\.\de[+-]0\d", said)
    assert "cosine 1.000000 in the mean" in said
    assert "the vectors of old and new model differ by at most 0" in said
    run_snippet(tmp_path / "onnx", ending=SAVE)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), vectors(trained / "student", SENTENCES), atol=1e-5)
    manifest = json.loads((tmp_path / "onnx" / "export.json").read_text())
    assert manifest["to"] == "onnx" and manifest["checked"]["difference"] < 1e-4 and manifest["languages"] == ["xx"]
    assert "model.onnx" in manifest["files"] and "README.md" not in manifest["files"]
    assert {path.name for path in tmp_path.iterdir()} == {"onnx", "found.npy"}


@pytest.mark.slow
@pytest.mark.parametrize("to", ["transformers", "sentence-transformers"])
def test_the_card_s_recipe_in_a_process_without_mlembed(tmp_path: Path, to: str) -> None:
    model = write(projected(), tmp_path / "model")
    assert export(model, tmp_path / "out", "--to", to) == 0
    run_snippet(tmp_path / "out", ending=SAVE)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), vectors(model, SENTENCES), atol=1e-5)


def test_a_pipeline_of_transformers_gives_the_tokens_vectors(trained: Path, tmp_path: Path) -> None:
    from transformers import pipeline

    assert export(trained, tmp_path / "out", "--to", "transformers") == 0
    extract: Any = pipeline("feature-extraction", str(tmp_path / "out"), device="cpu")  # type: ignore[call-overload]
    for text in TEXTS[:3]:
        vector_D = np.array(extract(text)[0]).mean(axis=0)
        expected = vectors(trained / "student", [text])[0]
        np.testing.assert_allclose(vector_D / np.linalg.norm(vector_D), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["transformers", "onnx"])
@pytest.mark.parametrize("head", [ONE, MANY, SCORE, WORDS_HEAD], ids=["one", "many", "score", "words"])
def test_heads(tmp_path: Path, to: str, head: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").mkdir()
    model = write_classifier(tmp_path / "x", head, family="bert")
    assert export(model, tmp_path / "out", "--to", to) == 0
    assert "100.0% of the answers are the same" in capsys.readouterr().err
    assert run_snippet(tmp_path / "out").strip()


def test_a_static_model_of_a_run_says_what_it_is_worth(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(trained, tmp_path / "out", "--to", "static", "--width", "16") == 0
    assert "read by sentence-transformers" in capsys.readouterr().err
    encoder = load_encoder(tmp_path / "out", key="k")
    assert encoder.is_static and encoder.width == 16
    card = (tmp_path / "out" / "README.md").read_text()
    assert "## Static" in card and re.search(r"\| xx \| \d+\.\d \| \d+\.\d \|", card)
    assert "# A static sentence encoder" in card and "- train: `data.tsv`" in card


def test_the_card_of_a_run(trained: Path, tmp_path: Path) -> None:
    assert export(trained, tmp_path / "out") == 0
    card = (tmp_path / "out" / "README.md").read_text()
    head = re.match(r"---\n(.*?)---\n", card, flags=re.DOTALL)
    assert head is not None
    front = yaml.safe_load(head.group(1))
    assert front["library_name"] == "sentence-transformers" and front["pipeline_tag"] == "sentence-similarity"
    assert front["language"] == ["en", "xx"] and "license" not in front and "base_model" not in front
    for part in ("- train: `data.tsv`", "| xx |", "mlembed train model=copy", "## Results by language", "## Limits"):
        assert part in card, part
    assert "largest difference to the model" in card


@pytest.mark.parametrize(
    ("make", "words", "message"),
    [
        ("head", ["--to", "sentence-transformers"], "this model answers with labels"),
        ("head", ["--to", "static"], "this model answers with labels"),
        ("static", ["--to", "transformers"], "this model is static"),
        ("static", ["--to", "static"], "this model is static"),
        ("plain", ["--to", "static", "--width", "999"], "--width 999: the model has 32 dimensions"),
        ("plain", ["--width", "16"], "--width is for --to static"),
        ("plain", ["--to", "static", "--width", "0"], "--width 0: a number of dimensions is expected"),
    ],
)
def test_what_a_model_cannot_be(
    tmp_path: Path, make: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").mkdir()
    if make == "head":
        model = write_classifier(tmp_path / "x", ONE, family="bert")
    else:
        model = write(static_encoder() if make == "static" else toy_encoder(), tmp_path / "model")
    assert export(model, tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
