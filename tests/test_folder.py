"""What a model folder says is understood or refused: layouts, broken files, code and pickles, names on the hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from toys import toy_encoder, toy_sentences, write_toy_model
from transformers import BertForMaskedLM, T5Config, T5Model

from mlembed.compute import Compute
from mlembed.errors import USAGE, ConfigError
from mlembed.export.model_folder import load_weights
from mlembed.export.sentence_transformers import export_encoder
from mlembed.models.encode import encode
from mlembed.models.encoder import load_encoder
from mlembed.models.folder import read_layout

CPU = Compute(torch.device("cpu"), "fp32")
TEXTS = toy_sentences(8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_toy_model(tmp_path / "model")


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None removes one."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    content = {key: value for key, value in (content | changes).items() if value is not None}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_modules(folder: Path, *kinds: str, prefix: str = "sentence_transformers.models") -> None:
    modules = [{"path": f"{at}_{kind}" if at else "", "type": f"{prefix}.{kind}"} for at, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")


CLASSIC = {
    "mean": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
    "cls": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
    "max": {"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False},
}


@pytest.mark.parametrize("pooling", CLASSIC)
def test_pooling_is_read_from_classic_and_compact_keys(model: Path, pooling: str) -> None:
    path = model / "1_Pooling" / "config.json"
    edit(path, **CLASSIC[pooling])
    assert read_layout(model).pooling == pooling
    classic = encode(load_encoder(model, key="k"), TEXTS, compute=CPU)
    for compact in (pooling, [pooling]):
        path.write_text(json.dumps({"embedding_dimension": 32, "pooling_mode": compact}))
        new = "sentence_transformers.sentence_transformer.modules.pooling"
        write_modules(model, "Transformer", "Pooling", "Normalize", prefix=new)
        np.testing.assert_array_equal(encode(load_encoder(model, key="k"), TEXTS, compute=CPU), classic)


def test_a_folder_that_says_nothing_is_pooled_by_the_mean(model: Path) -> None:
    (model / "modules.json").unlink()
    encoder = load_encoder(model, key="k")
    assert (encoder.pooling, encoder.normalize, len(encoder.dense), encoder.max_length) == ("mean", False, 0, 32)
    assert load_encoder(model, key="k", pooling="cls").pooling == "cls"


def test_the_length_is_the_folder_s(model: Path) -> None:
    edit(model / "sentence_bert_config.json", max_seq_length=12)
    assert load_encoder(model, key="k").max_length == 12
    assert load_encoder(model, key="k", max_length=20).max_length == 20
    edit(model / "sentence_bert_config.json", max_seq_length=512)
    assert load_encoder(model, key="k").max_length == 32, "no more than there are positions"


@pytest.mark.parametrize(
    ("activation", "apply"), [("linear.Identity", lambda x: x), ("activation.Tanh", torch.tanh), (None, torch.tanh)]
)
def test_dense_layers_are_read(
    model: Path, activation: str | None, apply: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    (model / "2_Dense").mkdir()
    weight_ED, texts = torch.randn(4, 32), TEXTS
    save_file({"linear.weight": weight_ED}, model / "2_Dense" / "model.safetensors")
    name = activation and f"torch.nn.modules.{activation}"
    edit(model / "2_Dense" / "config.json", in_features=32, out_features=4, bias=False, activation_function=name)
    write_modules(model, "Transformer", "Pooling")
    pooled_ND = torch.from_numpy(encode(load_encoder(model, key="k"), texts, compute=CPU))
    write_modules(model, "Transformer", "Pooling", "Dense")
    found_NE = encode(load_encoder(model, key="k"), texts, compute=CPU)
    np.testing.assert_allclose(found_NE, apply(pooled_ND @ weight_ED.T).numpy(), atol=1e-5)


DENSE = {"in_features": 32, "out_features": 4, "bias": True}
REFUSED: list[tuple[str, Callable[[Path], object], str]] = [
    ("module", lambda f: write_modules(f, "Transformer", "Pooling", "LayerNorm"), "not know the module .*LayerNorm"),
    ("order", lambda f: write_modules(f, "Transformer", "Pooling", "Normalize", "Dense"), "Dense after Normalize"),
    ("first", lambda f: write_modules(f, "Pooling"), "Pooling after nothing"),
    ("no list", lambda f: (f / "modules.json").write_text("{}"), "JSON array"),
    ("no module", lambda f: (f / "modules.json").write_text("[3]"), "3 is not a module"),
    ("broken", lambda f: (f / "modules.json").write_text("["), r"modules\.json cannot be read"),
    ("huge", lambda f: (f / "modules.json").write_text(" " * 2_000_000 + "[]"), "too large"),
    ("two poolings", lambda f: edit(f / "1_Pooling/config.json", pooling_mode_cls_token=True), r"mean \+ cls"),
    ("no pooling", lambda f: edit(f / "1_Pooling/config.json", pooling_mode_mean_tokens=False), "pooling none"),
    ("last", lambda f: edit(f / "1_Pooling/config.json", pooling_mode="lasttoken"), "lasttoken is not one of"),
    ("length", lambda f: edit(f / "sentence_bert_config.json", max_seq_length="x"), "max_seq_length 'x'"),
    ("lower case", lambda f: edit(f / "sentence_bert_config.json", do_lower_case=True), "do_lower_case"),
    ("adapter", lambda f: edit(f / "adapter_config.json", peft_type="LORA"), "merge it into its base model"),
    ("no weights", lambda f: (f / "model.safetensors").unlink(), "no file named model.safetensors"),
    ("cut weights", lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 100), "deserializing header"),
    ("no tokenizer", lambda f: (f / "tokenizer.json").unlink(), "cannot be loaded by transformers"),
    ("broken tokenizer", lambda f: (f / "tokenizer.json").write_text("{}"), "cannot be loaded by transformers"),
    ("broken config", lambda f: (f / "config.json").write_text("{"), r"config\.json cannot be read"),
    ("shapes", lambda f: edit(f / "config.json", hidden_size=64), "other shapes than its config.json"),
    ("unknown kind", lambda f: edit(f / "config.json", model_type="nothing"), "cannot be loaded by transformers"),
]  # fmt: skip


@pytest.mark.parametrize(("break_it", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_would_give_other_vectors_is_refused(
    model: Path, break_it: Callable[[Path], object], message: str
) -> None:
    break_it(model)
    with pytest.raises(ConfigError, match=message) as caught:
        load_encoder(model, key="model.student.name")
    assert caught.value.exit_code == USAGE


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**DENSE, "activation_function": "torch.nn.modules.activation.GELU"}, "gelu is not one of identity, tanh"),
        ({**DENSE, "use_residual": True}, "residual"),
        ({**DENSE, "module_input_name": "token_embeddings"}, "a dense layer of token_embeddings"),
        ({**DENSE, "in_features": "32"}, "numbers of dimensions"),
        ({**DENSE, "in_features": 16}, "takes 16 dimensions, but gets 32"),
        ({**DENSE, "out_features": 5}, r"model\.safetensors cannot be loaded"),
        (DENSE | {"bias": False}, r"model\.safetensors cannot be loaded"),
    ],
)
def test_dense_layers_that_are_not_known(model: Path, settings: dict[str, Any], message: str) -> None:
    edit(model / "2_Dense" / "config.json", **settings)
    width = int(settings["in_features"])
    tensors = {"linear.weight": torch.zeros(4, width), "linear.bias": torch.zeros(4)}
    save_file(tensors, model / "2_Dense" / "model.safetensors")
    write_modules(model, "Transformer", "Pooling", "Dense")
    with pytest.raises(ConfigError, match=message):
        load_encoder(model, key="k")


@pytest.mark.parametrize("path", ["../other", "/etc", "1_Pooling/../../other"])
def test_modules_out_of_the_folder_are_refused(model: Path, path: str) -> None:
    modules = json.loads((model / "modules.json").read_text())
    modules[1]["path"] = path
    (model / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ConfigError, match="leads out of the model folder"):
        read_layout(model)


def test_weights_that_are_missing_are_not_made_up(model: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.bias"]
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ConfigError, match=r"1 weights of the model are not in .*encoder\.layer\.1\.output\.dense\.bias"
    ):
        load_encoder(model, key="k")


def test_weights_under_the_names_of_other_times(model: Path, tmp_path: Path) -> None:
    """LayerNorm.gamma of old checkpoints, and the prefix of a model with a head: loaded, saved, and loaded back."""
    expected = encode(load_encoder(model, key="k"), TEXTS, compute=CPU)
    old = {
        f"bert.{name}".replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): tensor
        for name, tensor in load_file(model / "model.safetensors").items()
    }
    assert any(name.endswith("gamma") for name in old)
    save_file(old, model / "model.safetensors", metadata={"format": "pt"})
    encoder = load_encoder(model, key="k")
    np.testing.assert_array_equal(encode(encoder, TEXTS, compute=CPU), expected)
    (tmp_path / "saved").mkdir()
    export_encoder(encoder, tmp_path / "saved", card="")
    load_weights(encoder, tmp_path / "saved")
    np.testing.assert_array_equal(encode(encoder, TEXTS, compute=CPU), expected)


def test_a_model_with_another_head_is_an_encoder_too(tmp_path: Path) -> None:
    toy = toy_encoder()
    BertForMaskedLM(toy.transformer.config).save_pretrained(tmp_path)
    toy.tokenizer.save_pretrained(tmp_path)
    names = [name for name, _ in load_encoder(tmp_path, key="k").named_parameters()]
    assert names and not any("cls" in name or "pooler" in name for name in names)


def test_models_that_are_no_encoders(tmp_path: Path) -> None:
    config = T5Config(vocab_size=80, d_model=16, d_ff=16, num_layers=1, num_heads=2, d_kv=8, pad_token_id=0)
    T5Model(config).save_pretrained(tmp_path)
    toy_encoder().tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="a t5 model, which is not a text encoder"):
        load_encoder(tmp_path, key="k")


def test_a_tokenizer_that_does_not_fit(model: Path) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["new"] = 65
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ConfigError, match="more tokens than the 65 that the model knows"):
        load_encoder(model, key="k")
    edit(model / "tokenizer_config.json", pad_token=None)
    with pytest.raises(ConfigError, match="no padding token"):
        load_encoder(model, key="k")


def test_a_prompt_that_is_left_out_is_said(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = model / "config_sentence_transformers.json"
    edit(path, prompts={"query": "query: "})
    load_encoder(model, key="k")
    assert not caplog.messages
    edit(path, default_prompt_name="query")
    load_encoder(model, key="k")
    assert "'query: ' before each text" in caplog.text


@pytest.mark.parametrize("model_type", ["bert", "evil"])
def test_code_in_a_folder_is_not_run(model: Path, model_type: str) -> None:
    auto_map = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoTokenizer": ["evil.T", "evil.T"]}
    edit(model / "config.json", auto_map=auto_map, model_type=model_type)
    edit(model / "tokenizer_config.json", auto_map=auto_map)
    (model / "evil.py").write_text(f"open({str(model / 'ran')!r}, 'w')\nclass Config: pass\nclass Model: pass\n")
    if model_type == "evil":
        with pytest.raises(ConfigError, match="needs code of its own"):
            load_encoder(model, key="k")
    else:
        encoder = load_encoder(model, key="k")
        assert type(encoder.transformer).__module__.startswith("transformers.")
        (model / "out").mkdir()
        export_encoder(encoder, model / "out", card="")
        assert not [path for path in (model / "out").glob("*.json") if "evil" in path.read_text()]
    assert not (model / "ran").exists()


class Touch:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("place", ["", "2_Dense"])
def test_pickles_are_not_read(model: Path, place: str) -> None:
    edit(model / "2_Dense" / "config.json", **DENSE)
    write_modules(model, "Transformer", "Pooling", "Dense")
    save_file({}, model / "2_Dense" / "model.safetensors")
    (model / place / "model.safetensors").unlink()
    torch.save(Touch(model / "ran"), model / place / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"model\.safetensors"):
        load_encoder(model, key="k")
    assert not (model / "ran").exists()
