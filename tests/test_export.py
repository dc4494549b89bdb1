"""An exported student: the files other tools ask for, the same vectors in each of them, the same bits back."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from toys import toy_encoder, toy_sentences

from mlembed.compute import Compute
from mlembed.export.card import CardFacts, card_facts, model_card
from mlembed.export.model_folder import load_weights
from mlembed.export.sentence_transformers import export_encoder
from mlembed.models.encode import encode
from mlembed.models.encoder import Dense, Encoder, load_encoder

CPU = Compute(torch.device("cpu"), "fp32")
TEXTS = [*toy_sentences(20), "", "words that nobody knows", "the " * 60]


def student(*, pooling: str = "mean", dense: list[Dense] | None = None, normalize: bool = True) -> Encoder:
    toy = toy_encoder()
    return Encoder(
        toy.transformer,
        tokenizer=toy.tokenizer,
        pooling=pooling,
        dense=dense or [],
        normalize=normalize,
        max_length=24,
    )


def with_projections() -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        layers = [Dense(32, 16, bias=True, activation="tanh"), Dense(16, 12, bias=False, activation="identity")]
    return student(pooling="cls", dense=layers)


def export(encoder: Encoder, folder: Path) -> Path:
    folder.mkdir()
    export_encoder(encoder, folder, card="# A toy\n")
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_files_are_frozen(tmp_path: Path) -> None:
    folder = export(with_projections(), tmp_path / "student")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "3_Dense/config.json",
        "3_Dense/model.safetensors",
        "4_Normalize/config.json",
        "README.md",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert read(folder / "modules.json") == [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
        {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"},
        {"idx": 4, "name": "4", "path": "4_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    assert read(folder / "1_Pooling/config.json") == {
        "word_embedding_dimension": 32,
        "pooling_mode_cls_token": True,
        "pooling_mode_mean_tokens": False,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
        "pooling_mode_weightedmean_tokens": False,
        "pooling_mode_lasttoken": False,
        "include_prompt": True,
    }
    assert read(folder / "2_Dense/config.json") == {
        "in_features": 32,
        "out_features": 16,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }
    assert read(folder / "3_Dense/config.json")["activation_function"] == "torch.nn.modules.linear.Identity"
    assert set(load_file(folder / "3_Dense/model.safetensors")) == {"linear.weight"}
    assert read(folder / "4_Normalize/config.json") == {}
    assert read(folder / "sentence_bert_config.json") == {"max_seq_length": 24, "do_lower_case": False}
    assert (folder / "README.md").read_text() == "# A toy\n"


def test_the_tokenizer_has_a_class_that_every_version_knows(tmp_path: Path) -> None:
    settings = read(export(student(), tmp_path / "student") / "tokenizer_config.json")
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert settings["model_max_length"] == 24
    assert not {"backend", "is_local", "local_files_only", "auto_map"} & settings.keys()
    config = read(tmp_path / "student" / "config.json")
    assert config["architectures"] == ["BertModel"] and config["dtype"] == "float32"


def test_others_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        folder = export(with_projections(), tmp_path / "student")
    finally:
        os.umask(before)
    paths = list(folder.rglob("*"))
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o644}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o755}


def test_weights_are_float32_whatever_the_layers_computed_in(tmp_path: Path) -> None:
    folder = export(student(), tmp_path / "student")
    tensors = load_file(folder / "model.safetensors")
    assert len(tensors) > 20 and {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_weights_come_back_bit_for_bit(tmp_path: Path) -> None:
    first, second = with_projections(), with_projections()
    folder = export(first, tmp_path / "student")
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(0.5).add_(1.0)
    load_weights(second, folder)
    expected = first.state_dict()
    assert expected.keys() == second.state_dict().keys()
    assert all(torch.equal(expected[name], tensor) for name, tensor in second.state_dict().items())


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = export(student(), tmp_path / "student")
    for other in (with_projections(), toy_encoder(layers=3), toy_encoder(width=16)):
        with pytest.raises(ValueError, match="are of another model"):
            load_weights(other, folder)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_mlembed_loads_it(tmp_path: Path, pooling: str) -> None:
    encoder = student(pooling=pooling, normalize=pooling != "max")
    again = load_encoder(export(encoder, tmp_path / "student"), key="k")
    assert (again.pooling, again.normalize, again.max_length) == (pooling, pooling != "max", 24)
    np.testing.assert_array_equal(encode(again, TEXTS, compute=CPU), encode(encoder, TEXTS, compute=CPU))


def test_automodel_gives_the_same_vectors(tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    encoder = student()
    folder = export(encoder, tmp_path / "student")
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    assert inputs["input_ids"].shape[1] == 24, "the length is in the tokenizer, too"
    with torch.no_grad():
        hidden_BTD = model(**inputs).last_hidden_state
    mask_BT1 = inputs["attention_mask"].unsqueeze(-1)
    mean_BD = torch.nn.functional.normalize((hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1), dim=1)
    np.testing.assert_allclose(mean_BD.numpy(), encode(encoder, TEXTS, compute=CPU), atol=1e-5)


def test_sentence_transformers_gives_the_same_vectors_and_saves_what_mlembed_loads(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    for name, encoder in (("plain", student(normalize=False)), ("projected", with_projections())):
        model = SentenceTransformer(str(export(encoder, tmp_path / name)), device="cpu")
        assert model.max_seq_length == 24
        expected = encode(encoder, TEXTS, compute=CPU)
        np.testing.assert_allclose(model.encode(TEXTS), expected, atol=1e-5)
        model.save(str(tmp_path / f"{name}-again"))
        assert "pooling_mode" in read(tmp_path / f"{name}-again" / "1_Pooling" / "config.json"), "its own, newer layout"
        again = load_encoder(tmp_path / f"{name}-again", key="k")
        assert again.max_length == 24
        np.testing.assert_allclose(encode(again, TEXTS, compute=CPU), expected, atol=1e-6)


def test_the_card_names_languages_teacher_and_counts() -> None:
    languages = {"no": 7, "pt_BR": 5, "zh_CN": 4, "ang": 2}
    facts = CardFacts(
        languages=list(languages),
        source_language="en",
        teacher="some/teacher",
        base="some/student",
        datasets=["some/data"],
        sources={"train": ["a.tsv"]},
        counts={"train": languages},
        max_length=128,
        results="# Results\n\n## More\n",
        command="mlembed train",
    )
    card = model_card(facts, usage="## Use", export="## Check")
    match = re.match(r"---\n(.*?)---\n", card, flags=re.DOTALL)
    assert match is not None
    front = yaml.safe_load(match.group(1))
    assert front["language"] == ["en", "no", "pt", "zh", "ang"], "no is no false"
    assert (front["base_model"], front["datasets"]) == ("some/student", ["some/data"])
    for part in (
        "`some/teacher`",
        "| pt_BR | 5 |",
        "| **all** | **18** |",
        "## Results\n\n### More",
        "first 128 tokens",
    ):
        assert part in card
    assert card.endswith("## Check\n") and "- train: `a.tsv`" in card and "```bash\nmlembed train\n```" in card


def test_a_local_folder_is_no_base_model_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my" / "model").mkdir(parents=True)
    for base in ("my/model", "/abs/my/model", "package:some/model"):
        assert "base_model" not in model_card(CardFacts(base=base), usage="")


def test_data_sets_of_the_hub_are_named_and_folders_are_not() -> None:
    files = {
        "train": ["hub:owner/pairs:en-de", "/home/me/a.tsv"],
        "test": ["hub:/home/me/set", "hub:owner/pairs:en-fr"],
    }
    config = {
        "task": {"kind": "embedding"},
        "model": {"kind": "copy", "teacher": {"name": "t"}},
        "data": {"kind": "files", "source_language": "en", **files},
    }
    facts = card_facts(config, used={})
    assert facts.datasets == ["owner/pairs"]
    assert facts.sources == {"train": ["hub:owner/pairs:en-de", "a.tsv"], "test": ["set", "hub:owner/pairs:en-fr"]}
    for name, expected in (("tatoeba", ["tatoeba"]), ("/home/me/set", [])):
        hub = {"kind": "hub", "source_language": "en", "name": name}
        assert card_facts(config | {"data": hub}, used={}).datasets == expected
