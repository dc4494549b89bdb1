"""`mlembed export --to onnx` and `onnx-int8`: one graph that answers as the model does, whatever is padded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from exporting import CPU, TEXTS, export, projected, run_snippet, static_encoder, vectors, write
from families import FAMILIES, SUBWORDS, subword_tokenizer, write_family
from heads import ONE, write_classifier
from toys import toy_encoder

from mlembed.export.onnx_folder import export_onnx
from mlembed.export.onnx_int8 import RECIPES, quantize
from mlembed.export.onnx_reader import OnnxReader
from mlembed.models.encode import encode
from mlembed.models.encoder import load_encoder


@pytest.mark.parametrize("family", [pytest.param("bert", marks=pytest.mark.slow), "xlm-roberta"])
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


@pytest.mark.slow
def test_a_static_model_as_a_graph(tmp_path: Path) -> None:
    model = write(static_encoder(), tmp_path / "model")
    assert export(model, tmp_path / "onnx", "--to", "onnx") == 0
    found = np.stack(OnnxReader(tmp_path / "onnx").read([*TEXTS, ""]))
    np.testing.assert_allclose(found, vectors(model, [*TEXTS, ""]), atol=1e-6)
    assert not OnnxReader(tmp_path / "onnx").read([""])[0].any()
    settings = json.loads((tmp_path / "onnx" / "onnx_config.json").read_text())
    assert (settings["max_length"], settings["add_special_tokens"]) == (None, False)


@pytest.mark.slow
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
