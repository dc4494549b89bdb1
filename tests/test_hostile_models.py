"""Model folders that ask for memory that they do not hold, or for code: refused before anything of it happens."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from fuzzing import seeds_folders
from fuzzing.targets import TARGETS
from heads import ONE, write_classifier
from toys import write_toy_model

from mlembed.errors import ConfigError
from mlembed.models.classifier_folder import load_any_classifier
from mlembed.models.encoder import load_encoder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_toy_model(tmp_path / "model", width=8, layers=1)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers=1000000000"),
        ({"vocab_size": 2**40}, "vocab_size=1099511627776"),
        ({"num_labels": 2**31}, "num_labels=2147483648"),
        ({"hidden_size": 2**20, "intermediate_size": 2**20, "num_attention_heads": 1}, "parameters, but the weights"),
        ({"attn_implementation": "somebody/kernel"}, "asks for code of its own"),
        ({"_attn_implementation": "kernels-community/flash-attn2"}, "asks for code of its own"),
        ({"text_config": {"attn_implementation": {"": "somebody/kernel"}}}, "asks for code of its own"),
        ({"model_type": "\ud800"}, "not valid Unicode"),
        ({"model_type": "x" * 10}, "cannot be loaded by transformers"),
    ],
)
def test_a_config_that_asks_for_too_much(model: Path, values: dict[str, Any], message: str) -> None:
    change(model / "config.json", **values)
    started = time.process_time()
    with pytest.raises(ConfigError, match=message):
        load_encoder(model, key="model.student.name")
    # Seconds at the most, not the time to make up a billion of layers.
    assert time.process_time() - started < 20


@pytest.mark.parametrize("implementation", ["eager", "sdpa", None])
def test_implementations_that_torch_has_are_let_through(model: Path, implementation: str | None) -> None:
    change(model / "config.json", attn_implementation=implementation)
    assert load_encoder(model, key="model.student.name").width == 8


@pytest.mark.parametrize("tokenizer", ["{}", "[]", '{"model": {"type": "BPE", "vocab": {}, "merges": ["a"]}}', "\0"])
def test_a_tokenizer_that_is_none(model: Path, tokenizer: str) -> None:
    (model / "tokenizer.json").write_text(tokenizer)
    with pytest.raises(ConfigError, match=r"tokenizer|transformers"):
        load_encoder(model, key="model.student.name")


def test_a_header_of_safetensors_that_lies(model: Path) -> None:
    weights = model / "model.safetensors"
    header = json.dumps({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    for content in (len(header).to_bytes(8, "little") + header, b"\xff" * 16, b""):
        weights.write_bytes(content)
        with pytest.raises(ConfigError, match="cannot be loaded"):
            load_encoder(model, key="model.student.name")


@pytest.mark.parametrize("length", [[], "???", float("nan"), 0, -1])
def test_a_length_that_is_no_number(model: Path, length: object) -> None:
    change(model / "tokenizer_config.json", model_max_length=length)
    with pytest.raises(ConfigError, match="is no number of tokens"):
        load_encoder(model, key="model.student.name")


@pytest.mark.parametrize("label", [{}, None, 3, ["a"]])
def test_labels_that_are_no_texts(tmp_path: Path, label: object) -> None:
    folder = write_classifier(tmp_path, ONE)
    change(folder / "config.json", id2label={"0": label, "1": "fair", "2": "good"})
    with pytest.raises(ConfigError):
        load_any_classifier(folder, key="model")


@pytest.mark.parametrize("number", [-1, 2**70, None, "x"])
@pytest.mark.parametrize("library", ["python", "numpy"])
def test_random_states_that_are_none(library: str, number: object, tmp_path: Path) -> None:
    """A checkpoint whose manifest agrees, so that what is in it is looked at."""
    files = dict(seeds_folders.checkpoint()[0])
    name = f"{seeds_folders.CHECKPOINT}/random.json"
    (state,) = json.loads(files[name])
    state[library][1][0] = number
    seeds_folders.write_files(tmp_path, {**files, name: json.dumps([state]).encode()})
    with pytest.raises(ConfigError, match="does not fit this run"):
        TARGETS["checkpoint"].read(tmp_path, 1)


def test_a_pipe_in_the_place_of_weights(model: Path) -> None:
    (model / "model.safetensors").unlink()
    os.mkfifo(model / "model.safetensors")
    with pytest.raises(ConfigError):
        load_encoder(model, key="model.student.name")
