"""`mlembed export --to ...`: each format answers as the model does, in the tool that it is for and in a new process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from families import FAMILIES, SUBWORDS, subword_tokenizer, write_family
from heads import MANY, ONE, SCORE, WORDS_HEAD, write_classifier
from toys import toy_command, toy_encoder, toy_sentences, write_toy_data, write_toy_model

from mlembed.cli import main
from mlembed.compute import Compute
from mlembed.export.onnx_folder import export_onnx
from mlembed.export.onnx_int8 import RECIPES, quantize
from mlembed.export.onnx_reader import OnnxReader
from mlembed.export.sentence_transformers import export_encoder
from mlembed.models.encode import encode
from mlembed.models.encoder import Dense, Encoder, load_encoder
from mlembed.models.static import StaticTransformer, make_table

CPU = Compute(torch.device("cpu"), "fp32")
TEXTS = [*toy_sentences(20), "words that nobody knows", "the " * 60, "cat"]


def export(target: str | Path, output: Path, *more: str) -> int:
    return main(["export", str(target), "--output", str(output), *more])


def vectors(folder: Path, texts: list[str] = TEXTS) -> np.ndarray:
    return encode(load_encoder(folder, key="k"), texts, compute=CPU)


def projected(*, pooling: str = "mean") -> Encoder:
    toy = toy_encoder()
    with torch.random.fork_rng():
        torch.manual_seed(2)
        layers = [Dense(32, 16, bias=True, activation="tanh"), Dense(16, 12, bias=False, activation="identity")]
    return Encoder(
        toy.transformer, tokenizer=toy.tokenizer, pooling=pooling, dense=layers, normalize=True, max_length=24
    )


def static_encoder() -> Encoder:
    toy = toy_encoder()
    table = toy.transformer.get_input_embeddings().weight
    return Encoder(
        StaticTransformer(make_table(table)),
        tokenizer=toy.tokenizer,
        pooling="mean",
        dense=[],
        normalize=True,
        max_length=1_000_000,
    )


def write(encoder: Encoder, folder: Path) -> Path:
    folder.mkdir()
    export_encoder(encoder, folder, card="# Somebody's model\n")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a second."""
    folder = tmp_path_factory.mktemp("trained")
    write_toy_model(folder / "teacher")
    write_toy_data(folder / "data.tsv", count=60)
    more = ["data.languages=[xx]", "trainer.max_steps=2", f"run.dir={folder / 'run'}", "trainer.progress=none"]
    assert main([*toy_command(folder), *more]) == 0
    return folder / "run"


def snippet(card: Path, folder: Path) -> str:
    """The Python of a card, for this folder, that saves its result."""
    code = re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), flags=re.DOTALL)[-1]
    assert "path/of/this/folder" in code
    return code.replace("path/of/this/folder", str(folder))


def run_snippet(folder: Path, *, ending: str = "") -> str:
    """What the Python of a folder's card prints in a new process that cannot reach mlembed."""
    code = f"import sys\nsys.modules['mlembed'] = None\n{snippet(folder / 'README.md', folder)}{ending}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder.parent,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SAVE = "np.save('found.npy', vectors)\n"


@pytest.mark.parametrize("family", sorted({"bert", "xlm-roberta"} & set(FAMILIES)))
def test_a_graph_has_the_vectors_of_the_model_under_padding(tmp_path: Path, family: str) -> None:
    """Positions of XLM-R are counted from the padding on; 24 tokens is all that these have."""
    model = write_family(tmp_path / "model", family)
    encoder = load_encoder(model, key="k")
    (tmp_path / "onnx").mkdir()
    export_onnx(encoder, tmp_path / "onnx")
    found = np.stack(OnnxReader(tmp_path / "onnx").read([*TEXTS, ""]))
    np.testing.assert_allclose(found, vectors(model, [*TEXTS, ""]), atol=1e-5)
    settings = json.loads((tmp_path / "onnx" / "onnx_config.json").read_text())
    assert settings["max_length"] == encoder.max_length == 24
    assert settings["pad_token_id"] == encoder.tokenizer.pad_token_id == (1 if family == "xlm-roberta" else 0)
    assert settings["inputs"] == ["input_ids", "attention_mask"]
    assert not (tmp_path / "onnx" / "model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"bert", "xlm-roberta"}))
def test_every_family_has_a_graph(tmp_path: Path, family: str) -> None:
    model = write_family(tmp_path / "model", family)
    (tmp_path / "onnx").mkdir()
    export_onnx(load_encoder(model, key="k"), tmp_path / "onnx")
    found = np.stack(OnnxReader(tmp_path / "onnx").read(TEXTS))
    np.testing.assert_allclose(found, vectors(model), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_a_graph_has_pooling_projection_and_normalization(tmp_path: Path, pooling: str) -> None:
    encoder = projected(pooling=pooling)
    (tmp_path / "onnx").mkdir()
    export_onnx(encoder, tmp_path / "onnx")
    found = np.stack(OnnxReader(tmp_path / "onnx").read(TEXTS))
    np.testing.assert_allclose(found, encode(encoder, TEXTS, compute=CPU), atol=1e-5)


def test_a_static_model_as_a_graph(tmp_path: Path) -> None:
    model = write(static_encoder(), tmp_path / "model")
    assert export(model, tmp_path / "onnx", "--to", "onnx") == 0
    found = np.stack(OnnxReader(tmp_path / "onnx").read([*TEXTS, ""]))
    np.testing.assert_allclose(found, vectors(model, [*TEXTS, ""]), atol=1e-6)
    assert not OnnxReader(tmp_path / "onnx").read([""])[0].any()
    settings = json.loads((tmp_path / "onnx" / "onnx_config.json").read_text())
    assert (settings["max_length"], settings["add_special_tokens"]) == (None, False)


def test_the_run_s_onnx_folder_in_a_process_without_mlembed(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(trained, tmp_path / "onnx", "--to", "onnx", "--prune-vocabulary", "--keep-tokens", "99") == 0
    said = capsys.readouterr().err
    assert re.search(r"read by onnxruntime, \d+ texts: largest difference to the model \de-0\d, cosine 1\.000000", said)
    assert "the vectors of old and new model differ by at most 0" in said
    run_snippet(tmp_path / "onnx", ending=SAVE)
    texts = ["A cat sits on the mat.", "Die Katze sitzt auf der Matte."]
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), vectors(trained / "student", texts), atol=1e-5)
    manifest = json.loads((tmp_path / "onnx" / "export.json").read_text())
    assert manifest["to"] == "onnx" and manifest["checked"]["difference"] < 1e-4 and manifest["languages"] == ["xx"]
    assert "model.onnx" in manifest["files"] and "README.md" not in manifest["files"]
    assert {path.name for path in tmp_path.iterdir()} == {"onnx", "found.npy"}


@pytest.mark.slow
@pytest.mark.parametrize("to", ["transformers", "sentence-transformers"])
def test_the_card_s_recipe_in_a_process_without_mlembed(tmp_path: Path, to: str) -> None:
    model = write(projected(), tmp_path / "model")
    assert export(model, tmp_path / "out", "--to", to) == 0
    run_snippet(tmp_path / "out", ending="import numpy as np\n" + SAVE)
    texts = ["A cat sits on the mat.", "Die Katze sitzt auf der Matte."]
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), vectors(model, texts), atol=1e-5)


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


def test_a_head_as_a_graph(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    model = write_classifier(tmp_path / "x", ONE, family="bert")
    assert export(model, tmp_path / "out", "--to", "onnx") == 0
    settings = json.loads((tmp_path / "out" / "onnx_config.json").read_text())
    assert settings["labels"] == list(ONE.labels) and settings["outputs"] == ["logits"]
    assert "token_type_ids" in settings["inputs"]
    assert json.loads(run_snippet(tmp_path / "out").replace("'", '"'))[0][0] in ONE.labels


@pytest.mark.slow
def test_weights_of_8_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write(toy_encoder(width=64), tmp_path / "model")
    assert export(model, tmp_path / "fp32", "--to", "onnx") == 0
    assert export(model, tmp_path / "int8", "--to", "onnx-int8") == 0
    said = capsys.readouterr().err
    assert "8 bits, one scale for a batch: mean cosine 0.9" in said
    expected = vectors(model)
    found = np.stack(OnnxReader(tmp_path / "int8").read(TEXTS))
    assert (found * expected).sum(axis=1).mean() >= 0.999
    assert json.loads((tmp_path / "int8" / "onnx_config.json").read_text())["precision"] == "int8"
    assert not list((tmp_path / "int8").glob("int8*"))
    sizes = []
    cosines = []
    for by_blocks in RECIPES:
        quantize(tmp_path / "fp32" / "model.onnx", tmp_path / "some.onnx", by_blocks=by_blocks)
        found = np.stack(OnnxReader(tmp_path / "fp32", graph=tmp_path / "some.onnx").read(TEXTS))
        cosines.append(float((found * expected).sum(axis=1).mean()))
        sizes.append((tmp_path / "some.onnx").stat().st_size)
    assert cosines[-1] > 0.999 and cosines[-1] >= cosines[0]
    assert max(sizes) < 0.6 * (tmp_path / "fp32" / "model.onnx").stat().st_size


def test_a_static_model_of_a_run_says_what_it_is_worth(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(trained, tmp_path / "out", "--to", "static", "--width", "16") == 0
    assert "read by sentence-transformers" in capsys.readouterr().err
    encoder = load_encoder(tmp_path / "out", key="k")
    assert encoder.is_static and encoder.width == 16
    card = (tmp_path / "out" / "README.md").read_text()
    assert "## Static" in card and re.search(r"\| xx \| \d+\.\d \| \d+\.\d \|", card)
    assert "data: `" in card or "- train: `data.tsv`" in card


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


def test_other_answers_are_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tokenizer that lower-cases by an option of another tool is what a check finds, and no list of files."""
    encoder = toy_encoder()
    with torch.no_grad():
        encoder.transformer.embeddings.word_embeddings.weight[5] = float("nan")  # "the"
    model = write(encoder, tmp_path / "model")
    (tmp_path / "texts.txt").write_text("the cat\n")
    assert export(model, tmp_path / "out", "--prune-vocabulary", "--texts", str(tmp_path / "texts.txt")) == 1
    assert "gives other vectors" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"model", "texts.txt"}


def test_what_text_embeddings_inference_reads(tmp_path: Path) -> None:
    """The keys that its source asks for; see docs/serving.md."""
    kind = SUBWORDS["Unigram"]
    model = write_family(tmp_path / "model", kind, tokenizer=subword_tokenizer("Unigram"))
    assert export(model, tmp_path / "onnx", "--to", "onnx") == 0
    assert export(model, tmp_path / "st") == 0
    for folder in (tmp_path / "onnx", tmp_path / "st"):
        config = json.loads((folder / "config.json").read_text())
        assert config["architectures"] == ["XLMRobertaModel"] and config["model_type"] == "xlm-roberta"
        for key in ("hidden_size", "num_hidden_layers", "max_position_embeddings", "pad_token_id"):
            assert isinstance(config[key], int), key
        pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
        assert pooling["pooling_mode_mean_tokens"] is True and pooling["pooling_mode_cls_token"] is False
        assert json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"] == 24
        assert json.loads((folder / "config_sentence_transformers.json").read_text())["prompts"] == {}
        assert (folder / "tokenizer.json").is_file()
    assert (tmp_path / "onnx" / "model.onnx").is_file() and (tmp_path / "st" / "model.safetensors").is_file()
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tmp_path / "onnx" / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_outputs()] == ["sentence_embedding", "last_hidden_state"]
    assert [one.type for one in session.get_inputs()] == ["tensor(int64)", "tensor(int64)"]
