"""Pooling, dense layers, and the ways to start and to freeze a student."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import WORDS, toy_encoder, toy_sentences, write_toy_model
from transformers import ByT5Tokenizer

from mlembed.compute import Compute
from mlembed.errors import USAGE, ConfigError, Interrupted
from mlembed.export.model_folder import is_finite, load_weights
from mlembed.export.sentence_transformers import export_encoder
from mlembed.models.encode import encode
from mlembed.models.encoder import Dense, Encoder, load_encoder, pool
from mlembed.models.student import copy_student, freeze, pretrained_student
from mlembed.tokens import tokenize

CPU = Compute(torch.device("cpu"), "fp32")
HIDDEN_BTD = torch.tensor([[[1.0, -2.0], [3.0, 6.0], [100.0, 100.0]], [[1.0, 1.0], [2.0, 2.0], [-6.0, 0.0]]])
MASK_BT = torch.tensor([[1, 1, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[2.0, 2.0], [-1.0, 1.0]]),
        ("cls", [[1.0, -2.0], [1.0, 1.0]]),
        ("max", [[3.0, 6.0], [2.0, 2.0]]),
    ],
)
def test_pooling_by_hand(pooling: str, expected: list[list[float]]) -> None:
    torch.testing.assert_close(pool(HIDDEN_BTD, MASK_BT, pooling=pooling), torch.tensor(expected))


def with_dense(encoder: Encoder, *layers: Dense, normalize: bool = False) -> Encoder:
    return Encoder(
        encoder.transformer,
        tokenizer=encoder.tokenizer,
        pooling=encoder.pooling,
        dense=list(layers),
        normalize=normalize,
        max_length=encoder.max_length,
    )


def test_dense_layers_come_after_pooling_and_before_normalization() -> None:
    plain = with_dense(toy_encoder())
    first, second = Dense(32, 3, bias=True, activation="tanh"), Dense(3, 2, bias=False, activation="identity")
    encoder = with_dense(plain, first, second, normalize=True)
    pooled_ND = torch.from_numpy(encode(plain, ["the red dog", "a cat"], compute=CPU))
    with torch.no_grad():
        hidden_NE = torch.tanh(pooled_ND @ first.linear.weight.T + first.linear.bias)
        expected_NF = hidden_NE @ second.linear.weight.T
        expected_NF = expected_NF / expected_NF.norm(dim=1, keepdim=True)
    assert encoder.width == 2
    np.testing.assert_allclose(encode(encoder, ["the red dog", "a cat"], compute=CPU), expected_NF.numpy(), atol=1e-6)


def test_vectors_are_pooled_in_full_precision() -> None:
    """Where layers compute in bf16, the length of a normalized vector is 1 to the precision of float32."""
    vectors_ND = encode(toy_encoder(), toy_sentences(20), compute=Compute(torch.device("cpu"), "bf16"))
    assert vectors_ND.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors_ND, axis=1), 1.0, atol=1e-6)


def test_vectors_come_in_the_order_of_the_texts() -> None:
    encoder, texts = toy_encoder(), [*toy_sentences(40), "the", "the", ""]
    expected = np.concatenate([encode(encoder, [text], compute=CPU) for text in texts])
    seen: list[int] = []
    found = encode(encoder, texts, compute=CPU, batch_tokens=64, advance=seen.append)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert sum(seen) == len(texts) and len(seen) > 3
    assert encode(encoder, [], compute=CPU).shape == (0, 32)


def test_an_interrupted_encoder_is_left_as_it_was() -> None:
    encoder = toy_encoder().train()
    encode(encoder, ["the"], compute=CPU)
    assert encoder.training, "it is put back into training"

    def stop(count: int) -> None:
        raise Interrupted(15, "stop")

    with pytest.raises(Interrupted):
        encode(encoder, ["the"], compute=CPU, advance=stop)
    assert encoder.training


def test_a_text_without_tokens_has_a_vector() -> None:
    encoder = toy_encoder()
    encoder.tokenizer.backend_tokenizer.post_processor = None
    tokens = tokenize(["", "the red", ""], tokenizer=encoder.tokenizer, max_length=8)
    assert tokens.lengths_N.tolist() == [1, 2, 1]
    assert np.isfinite(encode(encoder, ["", "the red"], compute=CPU)).all()


def test_a_copy_is_the_teacher(toy_folder: Path) -> None:
    teacher = load_encoder(toy_folder / "teacher", key="k")
    student = copy_student(toy_folder / "teacher", max_length=16, dropout=0.3)
    assert student.max_length == 16
    assert student.transformer.config.hidden_dropout_prob == 0.3
    texts = toy_sentences(5)
    np.testing.assert_array_equal(encode(student, texts, compute=CPU), encode(teacher, texts, compute=CPU))
    with pytest.raises(ConfigError, match=r"model\.student\.max_length: 33 is more than the model's 32 positions"):
        copy_student(toy_folder / "teacher", max_length=33, dropout=None)


def test_a_student_of_another_width_gets_a_projection_that_is_saved(toy_folder: Path, tmp_path: Path) -> None:
    teacher = load_encoder(toy_folder / "teacher", key="k")
    folder = write_toy_model(tmp_path / "narrow", width=16, seed=5)
    options = {"teacher": teacher, "pooling": "cls", "max_length": None, "dropout": 0.0}
    student = pretrained_student(folder, **options, seed=1)
    assert (student.width, len(student.dense), student.pooling, student.normalize) == (32, 1, "cls", True)
    weight_EB = student.dense[0].linear.weight
    torch.testing.assert_close(weight_EB.T @ weight_EB, torch.eye(16), atol=1e-5, rtol=0)
    again = pretrained_student(folder, **options, seed=1)
    assert torch.equal(again.dense[0].linear.weight, weight_EB), "the seed decides the projection"
    assert not torch.equal(pretrained_student(folder, **options, seed=2).dense[0].linear.weight, weight_EB)

    (tmp_path / "saved").mkdir()
    export_encoder(student, tmp_path / "saved", card="")
    loaded = load_encoder(tmp_path / "saved", key="k")
    texts = toy_sentences(5)
    np.testing.assert_array_equal(encode(loaded, texts, compute=CPU), encode(student, texts, compute=CPU))
    with torch.no_grad():
        again.dense[0].linear.weight.zero_()
    load_weights(again, tmp_path / "saved")
    assert torch.equal(again.dense[0].linear.weight, weight_EB)
    with pytest.raises(ValueError, match="of another model"):
        load_weights(teacher, tmp_path / "saved")


def test_a_student_of_the_same_width_gets_none(toy_folder: Path, tmp_path: Path) -> None:
    teacher = with_dense(load_encoder(toy_folder / "teacher", key="k"), normalize=False)
    student = pretrained_student(
        toy_folder / "teacher", teacher=teacher, pooling=None, max_length=None, dropout=None, seed=1
    )
    assert (len(student.dense), student.pooling) == (0, "mean")
    assert not student.normalize, "it normalizes where the teacher does, and only there"


def test_a_tokenizer_that_cannot_be_exported_is_refused_at_once(tmp_path: Path) -> None:
    model = toy_encoder().transformer
    model.resize_token_embeddings(400)
    model.save_pretrained(tmp_path)
    ByT5Tokenizer().save_pretrained(tmp_path)  # of bytes, in Python
    with pytest.raises(ConfigError, match=r"ByT5Tokenizer\) has no tokenizer\.json"):
        copy_student(tmp_path, max_length=None, dropout=None)
    teacher = load_encoder(tmp_path, key="k")
    assert np.isfinite(encode(teacher, ["not exported, so it may"], compute=CPU)).all()


def test_freezing_by_patterns() -> None:
    student = toy_encoder()
    named = dict(student.named_parameters())
    patterns = ["*.layer.0.*", "transformer.embeddings.LayerNorm.weight"]
    frozen = {name for name in named if ".layer.0." in name} | {"transformer.embeddings.LayerNorm.weight"}
    count = freeze(student, patterns=patterns, train_top_layers=None)
    assert {name for name, parameter in named.items() if not parameter.requires_grad} == frozen
    assert count == sum(named[name].numel() for name in frozen)
    assert freeze(toy_encoder(), patterns=[], train_top_layers=None) == 0


def test_freezing_the_embeddings_leaves_the_layers() -> None:
    student = toy_encoder()
    count = freeze(student, patterns=["embeddings"], train_top_layers=None)
    embeddings = list(student.transformer.embeddings.parameters())
    assert count == sum(parameter.numel() for parameter in embeddings)
    assert not any(parameter.requires_grad for parameter in embeddings)
    assert all(parameter.requires_grad for parameter in student.transformer.encoder.parameters())


def test_the_projection_stays_trained_when_no_layer_is() -> None:
    student = with_dense(toy_encoder(), Dense(32, 8, bias=True, activation="identity"))
    freeze(student, patterns=[], train_top_layers=0)
    trained = [name for name, parameter in student.named_parameters() if parameter.requires_grad]
    assert trained == ["dense.0.linear.weight", "dense.0.linear.bias"]


@pytest.mark.parametrize(
    ("patterns", "top", "message"),
    [
        (["*.layer.9.*"], None, r"model\.student\.freeze: '\*\.layer\.9\.\*' matches no parameter.*transformer\."),
        (["*"], None, "all parameters are frozen"),
        ([], 0, "all parameters are frozen"),
        ([], 3, r"train_top_layers: 3 is more than the model's 2 layers"),
    ],
)
def test_what_cannot_be_frozen(patterns: list[str], top: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        freeze(toy_encoder(), patterns=patterns, train_top_layers=top)
    assert caught.value.exit_code == USAGE


def test_weights_that_are_not_finite_are_seen() -> None:
    encoder = toy_encoder()
    assert is_finite(encoder)
    with torch.no_grad():
        encoder.transformer.embeddings.word_embeddings.weight[len(WORDS), 0] = math.nan
    assert not is_finite(encoder)
