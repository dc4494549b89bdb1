"""Losses against people's and a teacher's answers: beside the formulas of others, and where numbers are large."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import expit, rel_entr, softmax
from torch import Tensor

from mlembed.losses.labels import many_labels, one_label, score
from mlembed.losses.soft_labels import SOFT_LABELS, hard, kl, make_soft_labels, mse

PROBLEMS = ("one", "many", "score")


def logits(problem: str = "one", *, seed: int = 0, scale: float = 2.0, rows: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, 1 if problem == "score" else 4, generator=generator, dtype=torch.float64)


LABELS_M = torch.tensor([0, 3, 1, 1, 2, 0])
LABELS_ML = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 1, 0]])
WEIGHTS_L = torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)


def test_one_label_is_cross_entropy() -> None:
    student_ML = logits()
    log_ML = torch.from_numpy(np.log(softmax(student_ML.numpy(), axis=1)))
    plain_M = -log_ML[torch.arange(6), LABELS_M]
    torch.testing.assert_close(one_label(student_ML, LABELS_M), plain_M)
    weighted_M = one_label(student_ML, LABELS_M, class_weights_L=WEIGHTS_L)
    torch.testing.assert_close(weighted_M, plain_M * WEIGHTS_L[LABELS_M])
    torch.testing.assert_close(weighted_M, F.cross_entropy(student_ML, LABELS_M, WEIGHTS_L, reduction="none"))
    smooth_M = one_label(student_ML, LABELS_M, smoothing=0.2)
    torch.testing.assert_close(smooth_M, 0.8 * plain_M - 0.2 * log_ML.mean(dim=1))
    assert one_label(student_ML[:0], LABELS_M[:0]).shape == (0,)


def test_many_labels_is_the_mean_of_binary_cross_entropies() -> None:
    student_ML = logits()
    yes_ML = torch.from_numpy(expit(student_ML.numpy()))
    plain_ML = -torch.where(LABELS_ML > 0, yes_ML, 1 - yes_ML).log()
    torch.testing.assert_close(many_labels(student_ML.float(), LABELS_ML), plain_ML.mean(dim=1).float())
    weight_ML = torch.where(LABELS_ML > 0, WEIGHTS_L, torch.ones_like(WEIGHTS_L))
    weighted_M = many_labels(student_ML.float(), LABELS_ML, class_weights_L=WEIGHTS_L.float())
    torch.testing.assert_close(weighted_M, (plain_ML * weight_ML).mean(dim=1).float())
    target_ML = torch.where(LABELS_ML > 0, 0.95, 0.05).double()
    smooth_ML = -(target_ML * yes_ML.log() + (1 - target_ML) * (1 - yes_ML).log())
    torch.testing.assert_close(many_labels(student_ML.float(), LABELS_ML, smoothing=0.1), smooth_ML.mean(dim=1).float())


def test_score_is_the_squared_error_of_the_sigmoid() -> None:
    student_M1, scores_M = logits("score"), torch.tensor([0.0, 1.0, 0.5, 0.2, 0.9, 0.1], dtype=torch.float64)
    torch.testing.assert_close(
        score(student_M1, scores_M), torch.from_numpy((expit(student_M1.numpy()[:, 0]) - scores_M.numpy()) ** 2)
    )


def by_scipy(student_ML: Tensor, teacher_ML: Tensor, *, temperature: float, problem: str) -> np.ndarray:
    """T^2 times the divergence, from the definition."""
    student, teacher = (one.double().numpy() / temperature for one in (student_ML, teacher_ML))
    if problem == "one":
        divergence: np.ndarray = rel_entr(softmax(teacher, axis=1), softmax(student, axis=1)).sum(axis=1)
    else:
        both = rel_entr(expit(teacher), expit(student)) + rel_entr(expit(-teacher), expit(-student))
        divergence = both.mean(axis=1)
    return temperature**2 * divergence


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kl_by_the_formula_of_others(problem: str, temperature: float) -> None:
    student_ML, teacher_ML = logits(problem), logits(problem, seed=1)
    found_M = kl(student_ML, teacher_ML, temperature=temperature, problem=problem)
    wanted_M = by_scipy(student_ML, teacher_ML, temperature=temperature, problem=problem)
    np.testing.assert_allclose(found_M.numpy(), wanted_M, rtol=1e-9)
    if problem == "one":
        student_log_ML, teacher_log_ML = (F.log_softmax(one / temperature, dim=1) for one in (student_ML, teacher_ML))
        torch_M = F.kl_div(student_log_ML, teacher_log_ML, log_target=True, reduction="none").sum(dim=1)
        torch.testing.assert_close(found_M, temperature**2 * torch_M)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_kl_pulls_the_student_s_probabilities_to_the_teacher_s(problem: str) -> None:
    """The gradient is `T (q - p)`: it does not vanish at a high temperature, which is what T^2 is for."""
    student_ML, teacher_ML = logits(problem).requires_grad_(), logits(problem, seed=1)
    kl(student_ML, teacher_ML, temperature=3.0, problem=problem).sum().backward()
    p_ML, q_ML = (
        (one / 3).softmax(dim=1) if problem == "one" else (one / 3).sigmoid() for one in (teacher_ML, student_ML)
    )
    wanted_ML = 3 * (q_ML - p_ML) / (1 if problem == "one" else p_ML.shape[1])
    torch.testing.assert_close(student_ML.grad, wanted_ML.detach())


def test_kl_is_half_of_mse_at_a_high_temperature() -> None:
    student_ML, teacher_ML = logits(), logits(seed=1)
    hot_M = kl(student_ML, teacher_ML, temperature=1e4, problem="one")
    torch.testing.assert_close(
        hot_M, mse(student_ML, teacher_ML, temperature=1.0, problem="one") / 2, rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", ["kl", "mse"])
def test_nothing_is_closer_than_the_teacher_s_own_answer(name: str, problem: str) -> None:
    distance = make_soft_labels(name, temperature=2.0, problem=problem)
    teacher_ML = logits(problem)
    assert distance(teacher_ML, teacher_ML).abs().max() == 0
    others = [distance(logits(problem, seed=seed), teacher_ML) for seed in range(1, 20)]
    assert torch.stack(others).min() > 0


def test_mse_does_not_know_a_common_shift() -> None:
    student_ML, teacher_ML = logits(), logits(seed=1)
    plain_M = mse(student_ML, teacher_ML, temperature=1.0, problem="one")
    shifted_M = mse(student_ML + torch.arange(6)[:, None], teacher_ML - 5, temperature=1.0, problem="one")
    torch.testing.assert_close(shifted_M, plain_M)
    # Of several labels each logit says something.
    many_M = mse(student_ML, teacher_ML, temperature=1.0, problem="many")
    torch.testing.assert_close(many_M, F.mse_loss(student_ML, teacher_ML, reduction="none").mean(dim=1))
    assert (mse(student_ML + 1, teacher_ML, temperature=1.0, problem="many") - many_M).abs().min() > 0


def test_hard_is_the_loss_against_the_first_choice() -> None:
    student_ML, teacher_ML = logits(), logits(seed=1)
    options = {"temperature": 1.0}
    torch.testing.assert_close(
        hard(student_ML, teacher_ML, problem="one", **options), one_label(student_ML, teacher_ML.argmax(dim=1))
    )
    torch.testing.assert_close(
        hard(student_ML, teacher_ML, problem="many", **options),
        many_labels(student_ML, (teacher_ML > 0).long()),
        check_dtype=False,
    )
    torch.testing.assert_close(
        hard(student_ML[:, :1], teacher_ML[:, :1], problem="score", **options),
        score(student_ML[:, :1], teacher_ML[:, 0].sigmoid()),
    )


def extreme(problem: str, *, seed: int) -> Tensor:
    """Logits up to +-100 as a teacher's are stored, the most extreme ones and ties among them."""
    one_ML = logits(problem, seed=seed, scale=50.0, rows=200).clamp(-100, 100)
    one_ML[:4] = torch.tensor([100.0, -100.0, 0.0, 100.0])[:, None]
    one_ML[4:8, 0] = torch.tensor([100.0, -100.0, 100.0, -100.0])
    return one_ML.half()


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 8.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_kl_of_large_logits(problem: str, temperature: float, dtype: torch.dtype) -> None:
    distance = make_soft_labels("kl", temperature=temperature, problem=problem)
    teacher_ML, student_ML = extreme(problem, seed=0), extreme(problem, seed=1).to(dtype)
    student_ML[:2] = -student_ML[:2]
    student_ML.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found_M = distance(student_ML, teacher_ML)
    assert found_M.dtype == torch.float32, "whatever the forward computes in"
    # Where a probability underflows, scipy's 0 log 0 is what the limit is, up to logits that are infinite.
    exact_M = kl(student_ML.double(), teacher_ML.double(), temperature=temperature, problem=problem)
    torch.testing.assert_close(found_M.double(), exact_M, rtol=1e-5, atol=1e-4 * temperature)
    assert found_M.min() >= -1e-4
    found_M.sum().backward()
    assert student_ML.grad is not None and torch.isfinite(student_ML.grad).all()


@pytest.mark.parametrize("name", SOFT_LABELS)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_distance_is_finite_and_learns(name: str, problem: str) -> None:
    distance: Callable[[Tensor, Tensor], Tensor] = make_soft_labels(name, temperature=2.0, problem=problem)
    teacher_ML, student_ML = extreme(problem, seed=0), extreme(problem, seed=1).float().requires_grad_()
    before_M = distance(student_ML, teacher_ML)
    assert before_M.shape == (200,) and torch.isfinite(before_M).all()
    (gradient_ML,) = torch.autograd.grad(before_M.sum(), student_ML)
    assert torch.isfinite(gradient_ML).all()
    after_M = distance(student_ML.detach() - 0.1 * gradient_ML, teacher_ML)
    assert after_M.sum() < before_M.sum()
    assert distance(student_ML[:0], teacher_ML[:0]).shape == (0,), "a batch whose words have no token"
