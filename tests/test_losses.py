"""Losses: values by hand, and what holds for each of them, also for one that is added later."""

from __future__ import annotations

import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from mlembed.config import LossWeights
from mlembed.losses import LOSSES, DistillationLoss, LossOutput, make_loss

FOLDER = Path(str(files("mlembed.conf"))) / "loss"
KINDS = [*LOSSES, "sum"]
# Three texts of two sources; the last two are of the second one, and the last counts half.
STUDENT_ND = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]])
TEACHER_GD = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
GROUP_N = torch.tensor([0, 1, 1])
WEIGHT_N = torch.tensor([1.0, 1.0, 0.5])
# By hand; a line for each text.
EXPECTED: dict[str, list[float]] = {
    "mse": [0.0, (0 + 1) / 2, (9 + 4) / 2],
    "cosine": [0.0, 0.0, 1 - 4 / 5],
    # Cosines with the two sources, at temperature 0.5: (2, 0), (0, 2), (1.2, 1.6).
    "contrastive": [math.log(1 + math.exp(-2.0)), math.log(1 + math.exp(-2.0)), math.log(1 + math.exp(-0.4))],
    # Student: cos 0, 0.6, 0.8 between texts 1-2, 1-3, 2-3; teacher: 0, 0, 1.
    "relational": [0.36 / 3, 0.04 / 3, (0.36 + 0.04) / 3],
    # The first dimension alone: cosines 1, 0 and 0 (the second source is 0 there); both: 1, 1 and 0.8.
    "matryoshka": [0.0, 1 / 2, (1 + 0.2) / 2],
}
SETTINGS: dict[str, dict[str, Any]] = {"contrastive": {"temperature": 0.5}, "matryoshka": {"widths": [1]}}
# It takes the teacher's dimensions in another order, so it cannot be one of several losses.
ALONE = {"matryoshka"}


def value(loss: DistillationLoss, weight_N: Tensor = WEIGHT_N) -> LossOutput:
    return loss(STUDENT_ND, teacher_GD=TEACHER_GD, group_N=GROUP_N, weight_N=weight_N)


def settings_of(kind: str) -> dict[str, Any]:
    settings = yaml.safe_load((FOLDER / f"{kind}.yaml").read_text(encoding="utf-8"))
    assert isinstance(settings, dict)
    # The vectors of these tests are short.
    return settings | ({"widths": [2, 3]} if "widths" in settings else {})


def random_batch(*, seed: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "student_ND": torch.randn(7, 5, generator=generator),
        "teacher_GD": torch.randn(4, 5, generator=generator),
        "group_N": torch.tensor([0, 0, 1, 2, 2, 2, 3]),
        "weight_N": torch.rand(7, generator=generator) + 0.1,
    }


def call(loss: DistillationLoss, batch: dict[str, Tensor]) -> LossOutput:
    return loss(batch["student_ND"], **{name: tensor for name, tensor in batch.items() if name != "student_ND"})


@pytest.mark.parametrize("kind", EXPECTED)
def test_value_by_hand(kind: str) -> None:
    output = value(make_loss(kind, **SETTINGS.get(kind, {})))
    expected = sum(loss * weight for loss, weight in zip(EXPECTED[kind], WEIGHT_N.tolist(), strict=True))
    assert output.sum.item() == pytest.approx(expected, rel=1e-5)
    assert output.count.item() == 2.5


def test_weighted_sum_by_hand() -> None:
    weights = {"mse": 2.0, "cosine": 0.0, "contrastive": 0.1, "relational": 0.5}
    output = value(make_loss("sum", weights=weights, temperature=0.5))
    parts = {kind: sum(x * w for x, w in zip(EXPECTED[kind], WEIGHT_N.tolist(), strict=True)) for kind in weights}
    assert output.sum.item() == pytest.approx(sum(weights[kind] * parts[kind] for kind in parts), rel=1e-5)
    assert output.count.item() == 2.5, "a weight of the sum is not a weight of the texts"


def test_translations_of_one_source_are_no_negatives() -> None:
    """Two texts of one source: there is nothing to tell apart, so the loss is 0 whatever they are."""
    loss = make_loss("contrastive", temperature=0.05)
    output = loss(
        torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        teacher_GD=torch.tensor([[1.0, 1.0]]),
        group_N=torch.tensor([0, 0]),
        weight_N=torch.ones(2),
    )
    assert output.sum.item() == pytest.approx(0.0, abs=1e-6)


def test_similarities_can_be_matched_from_another_width() -> None:
    batch = random_batch()
    batch["student_ND"] = torch.cat([batch["teacher_GD"][batch["group_N"]], torch.zeros(7, 3)], dim=1)
    assert call(make_loss("relational"), batch).sum.item() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_every_loss_has_a_file_of_its_settings(kind: str) -> None:
    assert settings_of(kind)["kind"] == kind
    make_loss(**settings_of(kind))


def test_the_files_are_those_of_the_losses() -> None:
    # The joint one is of labels: see test_label_losses.py.
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted([*KINDS, "joint"])
    assert set(settings_of("sum")["weights"]) == set(LOSSES) - ALONE == set(LossWeights.model_fields)
    assert set(EXPECTED) == set(LOSSES), "each loss has a value by hand"


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_reaches_every_text_and_leaves_the_teacher_alone(kind: str) -> None:
    batch = random_batch()
    batch["student_ND"].requires_grad_()
    output = call(make_loss(**settings_of(kind)), batch)
    assert output.sum.ndim == output.count.ndim == 0 and not output.count.requires_grad
    output.sum.backward()
    gradient_ND = batch["student_ND"].grad
    assert gradient_ND is not None and torch.isfinite(gradient_ND).all()
    assert (gradient_ND.abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_against_the_gradient_helps(kind: str) -> None:
    batch, loss = random_batch(), make_loss(**settings_of(kind))
    batch["student_ND"].requires_grad_()
    before = call(loss, batch).sum
    (gradient_ND,) = torch.autograd.grad(before, batch["student_ND"])
    after = call(loss, batch | {"student_ND": batch["student_ND"].detach() - 1e-3 * gradient_ND}).sum
    assert after.item() < before.item()


@pytest.mark.parametrize("kind", KINDS)
def test_the_teacher_s_own_vectors_are_the_best_answer(kind: str) -> None:
    batch, loss = random_batch(), make_loss(**settings_of(kind))
    best = call(loss, batch | {"student_ND": batch["teacher_GD"][batch["group_N"]]}).sum.item()
    assert best < call(loss, batch).sum.item()
    if kind not in ("contrastive", "sum"):
        assert best == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_count(kind: str) -> None:
    """The sum is linear in the weights, and the count is their sum: then the trainer can divide once."""
    batch, loss = random_batch(), make_loss(**settings_of(kind))
    first_N, second_N = batch["weight_N"], batch["weight_N"].flip(0)
    parts = [call(loss, batch | {"weight_N": weight_N}) for weight_N in (first_N, second_N)]
    whole = call(loss, batch | {"weight_N": first_N + second_N})
    assert whole.sum.item() == pytest.approx(sum(part.sum.item() for part in parts), rel=1e-5)
    assert whole.count.item() == pytest.approx(float((first_N + second_N).sum()), rel=1e-6)
    assert call(loss, batch | {"weight_N": torch.zeros(7)}).sum.item() == 0.0


class Huber:
    """A loss that somebody adds, with a setting of its own."""

    compares_texts = False

    def __init__(self, *, delta: float) -> None:
        self.delta = delta

    def __call__(self, student_ND: Tensor, *, teacher_GD: Tensor, group_N: Tensor, weight_N: Tensor) -> LossOutput:
        loss_ND = torch.nn.functional.huber_loss(student_ND, teacher_GD[group_N], delta=self.delta, reduction="none")
        return LossOutput((loss_ND.mean(dim=1) * weight_N).sum(), weight_N.sum())


def test_a_new_loss_is_picked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSSES, "huber", Huber)
    # Differences: 0 and 0; 0 and 1; 3 and 2. With delta 1: 0.5 d^2 up to 1, then |d| - 0.5.
    by_hand = 1.0 * (0.0 + 0.5) / 2 + 0.5 * (2.5 + 1.5) / 2
    assert value(make_loss("huber", delta=1.0)).sum.item() == pytest.approx(by_hand)
    mixed = make_loss("sum", weights={"huber": 2.0, "mse": 1.0, "contrastive": 0.0}, temperature=0.5, delta=1.0)
    mse = sum(loss * weight for loss, weight in zip(EXPECTED["mse"], WEIGHT_N.tolist(), strict=True))
    assert value(mixed).sum.item() == pytest.approx(2 * by_hand + mse)
    with pytest.raises(TypeError, match="temperature"):
        make_loss("huber", temperature=1.0)
