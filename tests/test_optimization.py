"""Optimizers, their groups and their saved state; the learning rate over a run."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer, SparseAdam
from toys import toy_encoder

from mlembed.models.compaction import compact_vocabulary
from mlembed.models.encoder import Encoder
from mlembed.models.student import freeze
from mlembed.optimization import (
    ROW_STEP,
    RowAdamW,
    clip_gradients,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    parameter_groups,
    schedule_factor,
    set_learning_rate,
)


def factors(schedule: str, *, total: int = 10, warmup: float = 0.0) -> list[float]:
    return [schedule_factor(step, total_steps=total, warmup=warmup, schedule=schedule) for step in range(total)]


def test_linear_schedule_by_hand() -> None:
    assert factors("linear") == pytest.approx([1 - step / 10 for step in range(10)])
    assert factors("linear", warmup=0.2) == pytest.approx([0.5, 1.0, *(1 - step / 8 for step in range(8))])


def test_cosine_schedule_by_hand() -> None:
    cosine = [0.5 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert factors("cosine", warmup=0.2) == pytest.approx([0.5, 1.0, *cosine])
    assert cosine[4] == pytest.approx(0.5)


def test_constant_schedule_by_hand() -> None:
    assert factors("constant", warmup=0.4) == [0.25, 0.5, 0.75, 1.0] + [1.0] * 6


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("total", [1, 2, 7, 100])
def test_every_schedule_rises_then_falls_and_never_stands_still(schedule: str, warmup: float, total: int) -> None:
    values = factors(schedule, total=total, warmup=warmup)
    assert all(0 < value <= 1 for value in values), "no step is wasted at a learning rate of 0"
    assert max(values) == pytest.approx(1.0)
    top = math.ceil(warmup * total)
    assert values[:top] == sorted(values[:top]) and values[top:] == sorted(values[top:], reverse=True)


def test_matrices_decay_and_the_rest_does_not() -> None:
    model = toy_encoder()
    groups = parameter_groups(model, lr=0.1, weight_decay=0.3)
    named = {parameter: name for name, parameter in model.named_parameters()}
    decayed, others = ({named[parameter] for parameter in group["params"]} for group in groups)
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert decayed | others == set(named.values()) and not decayed & others
    assert all(name.endswith(".weight") and "LayerNorm" not in name for name in decayed)
    assert all(name.endswith(".bias") or "LayerNorm" in name for name in others)


def test_frozen_parameters_are_left_out() -> None:
    model = toy_encoder()
    freeze(model, patterns=["embeddings"], train_top_layers=1)
    groups = parameter_groups(model, lr=0.1, weight_decay=0.3)
    trained = [parameter for group in groups for parameter in group["params"]]
    assert {id(one) for one in trained} == {id(one) for one in model.parameters() if one.requires_grad}
    assert 0 < len(trained) < len(list(model.parameters()))


def test_the_embeddings_have_a_learning_rate_of_their_own() -> None:
    model = toy_encoder()
    table = model.transformer.get_input_embeddings().weight
    groups = parameter_groups(model, lr=0.1, weight_decay=0.3, embedding=table, embedding_lr=0.7)
    assert [group["peak_lr"] for group in groups] == [0.1, 0.1, 0.7]
    assert [one is table for one in groups[2]["params"]] == [True]
    assert not any(one is table for group in groups[:2] for one in group["params"])
    plain = parameter_groups(model, lr=0.1, weight_decay=0.3, embedding=table)
    assert plain[2]["peak_lr"] == 0.1


def test_the_optimizers_have_their_settings() -> None:
    model = toy_encoder()
    adamw = make_optimizer(model, kind="adamw", lr=0.1, weight_decay=0.3, betas=(0.8, 0.9), eps=1e-6)
    assert isinstance(adamw, AdamW)
    assert (adamw.defaults["betas"], adamw.defaults["eps"]) == ((0.8, 0.9), 1e-6)
    sgd = make_optimizer(model, kind="sgd", lr=0.1, weight_decay=0.3, momentum=0.5)
    assert isinstance(sgd, SGD) and sgd.defaults["momentum"] == 0.5


def test_the_learning_rate_is_the_peak_times_the_factor() -> None:
    model = toy_encoder()
    table = model.transformer.get_input_embeddings().weight
    optimizer = make_optimizer(model, kind="sgd", lr=0.2, weight_decay=0.0, embedding=table, embedding_lr=1.0)
    assert set_learning_rate(optimizer, factor=0.5) == 0.1
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1, 0.5]
    assert set_learning_rate(optimizer, factor=0.25) == 0.05, "factors do not pile up"


def test_one_step_of_sgd_by_hand() -> None:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0]]))
        layer.bias.fill_(3.0)
    optimizer = make_optimizer(layer, kind="sgd", lr=0.1, weight_decay=0.5)
    layer.weight.grad, layer.bias.grad = torch.tensor([[1.0, -1.0]]), torch.tensor([2.0])
    optimizer.step()
    # Weight: w - 0.1 (g + 0.5 w); the bias does not decay.
    torch.testing.assert_close(layer.weight.detach(), torch.tensor([[1 - 0.15, 2.0 - 0.0]]))
    torch.testing.assert_close(layer.bias.detach(), torch.tensor([2.8]))


SETTINGS = {"adamw": {"kind": "adamw", "lr": 0.01}, "sgd": {"kind": "sgd", "lr": 0.1, "momentum": 0.9}}


def optimizer_of(model: Encoder, name: str) -> Optimizer:
    return make_optimizer(model, weight_decay=0.1, **SETTINGS[name])


def train(model: Encoder, optimizer: Optimizer, *, steps: int) -> None:
    ids_BT = torch.arange(5, 25).reshape(4, 5)
    for _ in range(steps):
        optimizer.zero_grad()
        model.eval()(ids_BT, torch.ones_like(ids_BT))[:, :3].sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_saved_state_goes_on_to_the_same_bits(name: str) -> None:
    model, copy = toy_encoder(), toy_encoder()
    for one in (model, copy):
        freeze(one, patterns=["embeddings"], train_top_layers=None)
    optimizer = optimizer_of(model, name)
    train(model, optimizer, steps=3)
    tensors = {key: tensor.clone() for key, tensor in optimizer_tensors(optimizer, model).items()}
    assert {key.partition("|")[2] for key in tensors} == {n for n, one in model.named_parameters() if one.requires_grad}
    copy.load_state_dict(model.state_dict())
    other = optimizer_of(copy, name)
    load_optimizer_tensors(other, copy, tensors)
    other.param_groups[0]["lr"] = optimizer.param_groups[0]["lr"]
    train(model, optimizer, steps=2)
    train(copy, other, steps=2)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), copy.parameters(), strict=True))
    again = optimizer_tensors(other, copy)
    assert again.keys() == tensors.keys() and not any("|" not in key for key in again)


def test_settings_are_not_part_of_the_state() -> None:
    model = toy_encoder()
    optimizer = optimizer_of(model, "adamw")
    train(model, optimizer, steps=1)
    other = make_optimizer(model, kind="adamw", lr=0.5, weight_decay=0.0)
    load_optimizer_tensors(other, model, optimizer_tensors(optimizer, model))
    assert [group["peak_lr"] for group in other.param_groups] == [0.5, 0.5]


def test_no_step_leaves_no_state() -> None:
    model = toy_encoder()
    optimizer = optimizer_of(model, "adamw")
    assert optimizer_tensors(optimizer, model) == {}
    load_optimizer_tensors(optimizer, model, {})
    train(model, optimizer, steps=1)


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing() -> None:
    model = toy_encoder()
    optimizer = optimizer_of(model, "adamw")
    train(model, optimizer, steps=1)
    tensors = optimizer_tensors(optimizer, model)
    cases = [
        (toy_encoder(layers=1), "adamw", "of other parameters"),
        (toy_encoder(width=16), "adamw", "another shape"),
        (toy_encoder(), "sgd", "not of SGD"),
    ]
    for other, name, message in cases:
        fresh = optimizer_of(other, name)
        with pytest.raises(ValueError, match=message):
            load_optimizer_tensors(fresh, other, tensors)
        assert not fresh.state


def table(*, rows: int = 6) -> nn.Embedding:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Embedding(rows, 4)


def move(embedding: nn.Embedding, *, ids: list[list[int]], sparse: bool, kind: type[Optimizer] | None = None) -> Tensor:
    """Where the rows are after steps in which the rows of some ids have a gradient of their own."""
    weights = [embedding.weight]
    optimizer = kind(weights, lr=0.01) if kind else RowAdamW(weights, lr=0.01, weight_decay=0.1, fused=True)  # type: ignore[call-arg]
    generator = torch.Generator().manual_seed(1)
    for one in ids:
        optimizer.zero_grad()
        towards = torch.randn(4, generator=generator) + 1
        rows = torch.nn.functional.embedding(torch.tensor(one), embedding.weight, sparse=sparse)
        (rows * towards).sum().backward()
        optimizer.step()
    return embedding.weight.detach().clone()


def test_rows_that_are_in_every_step_move_as_with_adamw() -> None:
    ids = [[0, 2, 2, 5]] * 20
    found, wanted = move(table(), ids=ids, sparse=True), move(table(), ids=ids, sparse=False)
    torch.testing.assert_close(found[[0, 2, 5]], wanted[[0, 2, 5]])
    assert torch.equal(found[[1, 3, 4]], table().weight[[1, 3, 4]].detach()), "the others stay, bit for bit"


@pytest.mark.parametrize("gap", [2, 5, 30])
def test_a_row_that_comes_seldom_goes_as_far_as_with_adamw(gap: int) -> None:
    ids = [[0, 1] if step % gap == 0 else [0] for step in range(300)]
    start = table().weight[1].detach()
    way = move(table(), ids=ids, sparse=True)[1] - start
    wanted = move(table(), ids=ids, sparse=False)[1] - start
    assert float((way - wanted).norm() / wanted.norm()) < 0.15
    # Without catching up a row lags behind, and the more so the less often it comes.
    lazy = move(table(), ids=ids, sparse=True, kind=SparseAdam)[1] - start
    assert float((way - wanted).norm()) < float((lazy - wanted).norm())


def test_sparse_gradients_are_clipped_as_dense_ones() -> None:
    norms, gradients = [], []
    for sparse in (True, False):
        embedding, layer = table(), nn.Linear(4, 1)
        with torch.no_grad():
            layer.weight.fill_(1.0)
        ids = torch.tensor([0, 2, 2, 5])  # twice the same row: its gradients add up before they are measured
        rows = torch.nn.functional.embedding(ids, embedding.weight, sparse=sparse)
        layer(rows.square()).sum().backward()
        parameters = [embedding.weight, *layer.parameters()]
        norms.append(float(clip_gradients(parameters, max_norm=0.5)))
        assert all(parameter.grad is not None for parameter in parameters)
        gradients.append([parameter.grad.to_dense() for parameter in parameters if parameter.grad is not None])
    assert norms[0] == pytest.approx(norms[1]) and norms[0] > 0.5
    for found, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted)
    assert float(torch.cat([one.flatten() for one in gradients[0]]).norm()) == pytest.approx(0.5, rel=1e-4)


def compact_encoder() -> Encoder:
    encoder = toy_encoder(dropout=0.0)
    compact_vocabulary(encoder, np.arange(5, 25), sparse=True)
    return encoder


def test_the_steps_of_rows_are_part_of_the_state() -> None:
    model, copy = compact_encoder(), compact_encoder()
    optimizer, other = optimizer_of(model, "adamw"), optimizer_of(copy, "adamw")

    def step(encoder: Encoder, by: Optimizer, ids: list[int]) -> None:
        by.zero_grad()
        ids_BT = torch.tensor([ids])
        encoder.train()(ids_BT, torch.ones_like(ids_BT))[:, :3].sum().backward()
        by.step()

    for ids in ([5, 6, 7], [6, 8], [5, 9]):
        step(model, optimizer, ids)
    tensors = {key: tensor.clone() for key, tensor in optimizer_tensors(optimizer, model).items()}
    assert sum(key.startswith(ROW_STEP) for key in tensors) == 1
    copy.load_state_dict(model.state_dict())
    load_optimizer_tensors(other, copy, tensors)
    for ids in ([6, 7], [5, 8, 9]):
        step(model, optimizer, ids)
        step(copy, other, ids)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), copy.parameters(), strict=True))
    key = next(key for key in tensors if key.startswith(ROW_STEP))
    with pytest.raises(ValueError, match="another shape"):
        load_optimizer_tensors(optimizer_of(copy, "adamw"), copy, tensors | {key: torch.zeros(3)})
