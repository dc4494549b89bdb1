"""Every family of encoders: padding changes nothing, positions suffice, all weights learn, all are saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from families import FAMILIES, LAYERS, MAX_TOKENS, write_family
from toys import toy_sentences

from mlembed.compute import Compute
from mlembed.errors import ConfigError
from mlembed.export.model_folder import load_weights
from mlembed.export.sentence_transformers import export_encoder
from mlembed.models.encode import encode
from mlembed.models.encoder import Encoder, load_encoder
from mlembed.models.student import freeze

CPU = Compute(torch.device("cpu"), "fp32")
SENTENCES = [*toy_sentences(12), "the", " ".join(["red dog"] * 50)]


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_family(tmp_path_factory.mktemp("families") / request.param, request.param)


@pytest.fixture
def encoder(folder: Path) -> Encoder:
    return load_encoder(folder, key="model.student.name")


def test_padding_changes_nothing(encoder: Encoder) -> None:
    together = encode(encoder, SENTENCES, compute=CPU)
    alone = np.concatenate([encode(encoder, [sentence], compute=CPU) for sentence in SENTENCES])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.ptp(together, axis=0).mean() > 0.1, "the sentences have different vectors"


def test_what_stands_in_the_padding_changes_nothing(encoder: Encoder) -> None:
    tokens = encoder.eval().tokenize(SENTENCES[:4])
    ids_BT, mask_BT = tokens.padded(np.arange(4), device=CPU.device)
    assert int(mask_BT.sum()) < mask_BT.numel()
    other_BT = torch.where(mask_BT == 1, ids_BT, 9)
    with torch.no_grad():
        torch.testing.assert_close(encoder(ids_BT, mask_BT), encoder(other_BT, mask_BT), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tokens", [7, 10])
def test_both_ways_of_attention_give_the_same_vectors(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    """With gradients, short texts take another way than without, and than long ones."""
    monkeypatch.setattr("mlembed.models.attention.EAGER_TOKENS", 9)
    ids_BT, mask_BT = encoder.eval().tokenize(SENTENCES[:6]).padded(np.arange(6), device=CPU.device)
    ids_BT, mask_BT = F.pad(ids_BT, (0, tokens - ids_BT.shape[1])), F.pad(mask_BT, (0, tokens - mask_BT.shape[1]))
    with torch.no_grad():
        expected = encoder(ids_BT, mask_BT)
    kernels = encoder.transformer.config._attn_implementation
    torch.testing.assert_close(encoder(ids_BT, mask_BT).detach(), expected, atol=1e-5, rtol=1e-5)
    assert (kernels, encoder.transformer.config._attn_implementation) in (
        ("sdpa", "eager" if tokens == 7 else "sdpa"),
        ("eager", "eager"),
    )


def test_a_text_may_have_as_many_tokens_as_there_are_positions(encoder: Encoder) -> None:
    assert encoder.max_length == MAX_TOKENS
    tokens = encoder.tokenize(["the " * 100])
    assert tokens.lengths_N.tolist() == [MAX_TOKENS]
    assert np.isfinite(encode(encoder, ["the " * 100], compute=CPU)).all()


def test_more_tokens_than_positions_are_refused(folder: Path) -> None:
    assert load_encoder(folder, key="model.student.name", max_length=10).max_length == 10
    with pytest.raises(ConfigError, match=rf"model.student.max_length: 25 is more than .* {MAX_TOKENS} positions"):
        load_encoder(folder, key="model.student.name", max_length=MAX_TOKENS + 1)


def test_every_trained_weight_gets_a_gradient(encoder: Encoder) -> None:
    """Processes that train together wait for the gradient of each."""
    ids_BT, mask_BT = encoder.train().tokenize(SENTENCES[:4]).padded(np.arange(4), device=CPU.device)
    encoder(ids_BT, mask_BT).square().sum().backward()
    assert [name for name, parameter in encoder.named_parameters() if parameter.grad is None] == []


def test_dropout_is_set_and_taken_away(folder: Path) -> None:
    with_dropout = load_encoder(folder, key="k", dropout=0.5).train()
    without = load_encoder(folder, key="k", dropout=0.0).train()
    ids_BT, mask_BT = without.tokenize(SENTENCES[:4]).padded(np.arange(4), device=CPU.device)
    with torch.no_grad():
        torch.testing.assert_close(without(ids_BT, mask_BT), without.eval()(ids_BT, mask_BT))
        assert not torch.allclose(with_dropout(ids_BT, mask_BT), with_dropout(ids_BT, mask_BT), atol=1e-2)


def test_it_is_saved_and_loaded_bit_for_bit(encoder: Encoder, folder: Path, tmp_path: Path) -> None:
    export_encoder(encoder, tmp_path, card="a toy\n")
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    expected = encode(encoder, SENTENCES, compute=CPU)
    again = load_encoder(tmp_path, key="k")
    assert before.keys() == again.state_dict().keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in again.state_dict().items())
    assert again.tokenizer.pad_token_id == encoder.tokenizer.pad_token_id
    np.testing.assert_array_equal(encode(again, SENTENCES, compute=CPU), expected)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(1)
    load_weights(encoder, tmp_path)
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())


def test_its_tokenizer_gives_the_model_what_it_takes(encoder: Encoder, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    # As BERT's own tokenizer does; not every model takes token types.
    encoder.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    export_encoder(encoder, tmp_path, card="a toy\n")
    model, tokenizer = AutoModel.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
    inputs = tokenizer(SENTENCES, padding=True, truncation=True, return_tensors="pt")
    takes_types = encoder.transformer.config.model_type in ("bert", "electra", "roberta", "xlm-roberta")
    assert set(inputs) == {"input_ids", "attention_mask"} | ({"token_type_ids"} if takes_types else set())
    with torch.no_grad():
        hidden_BTD = model(**inputs).last_hidden_state
    mask_BT1 = inputs["attention_mask"].unsqueeze(-1)
    mean_BD = (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)
    np.testing.assert_allclose(mean_BD.numpy(), encode(encoder, SENTENCES, compute=CPU), atol=1e-5)


def test_embeddings_are_frozen(encoder: Encoder) -> None:
    count = freeze(encoder, patterns=["embeddings"], train_top_layers=None)
    table = encoder.transformer.get_input_embeddings().weight
    assert not table.requires_grad and count >= table.numel()
    assert all(parameter.requires_grad for name, parameter in encoder.named_parameters() if ".0." in name)


@pytest.mark.parametrize("top", [1, LAYERS])
def test_the_top_layers_alone_are_trained(encoder: Encoder, top: int) -> None:
    count = freeze(encoder, patterns=[], train_top_layers=top)
    named = dict(encoder.named_parameters())
    trained = {name for name, parameter in named.items() if parameter.requires_grad}
    assert count == sum(parameter.numel() for name, parameter in named.items() if name not in trained)
    numbers = {int(part) for name in trained for part in name.split(".") if part.isdigit()}
    assert numbers == set(range(LAYERS - top, LAYERS))
    others = [name for name in trained if not any(part.isdigit() for part in name.split("."))]
    final_norm = {"modernbert": ["transformer.final_norm.weight"]}
    assert others == final_norm.get(encoder.transformer.config.model_type, [])


def test_more_layers_than_there_are(encoder: Encoder) -> None:
    with pytest.raises(ConfigError, match=r"train_top_layers: 4 is more than the model's 3 layers"):
        freeze(encoder, patterns=[], train_top_layers=LAYERS + 1)
