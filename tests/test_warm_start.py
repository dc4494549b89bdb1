"""The closed-form start finds the map between two spaces, and chooses its regularization on other sources."""

from __future__ import annotations

import numpy as np
import torch

from mlembed.models.warm_start import RIDGES, fit_ridge


def spaces(count: int, *, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Student vectors, teacher vectors that are a linear map of them and a bias, and sources (two texts each)."""
    generator = np.random.default_rng(seed)
    student_ND = generator.standard_normal((count, 12))
    weight_DE = generator.standard_normal((12, 8))
    teacher_NE = student_ND @ weight_DE + 3.0 + noise * generator.standard_normal((count, 8))
    return student_ND.astype(np.float32), teacher_NE.astype(np.float32), np.arange(count) // 2


def test_a_linear_map_with_a_bias_is_found() -> None:
    student_ND, teacher_NE, source_N = spaces(500, noise=0.0)
    fit = fit_ridge(student_ND, teacher_NE, source_N=source_N, seed=0)
    with torch.no_grad():
        fitted_NE = fit.layer(torch.from_numpy(student_ND)).numpy()
    np.testing.assert_allclose(fitted_NE, teacher_NE, atol=1e-2)
    assert fit.ridge == min(RIDGES)
    assert fit.cosine > 0.999


def test_the_fit_equals_the_closed_form_on_what_is_not_held_out() -> None:
    student_ND, teacher_NE, source_N = spaces(60, noise=1.0)
    fit = fit_ridge(student_ND, teacher_NE, source_N=source_N, seed=3)
    sources = np.random.Generator(np.random.PCG64(3)).permutation(np.unique(source_N))
    rows = ~np.isin(source_N, sources[: max(1, int(0.1 * len(sources)))])
    x, y = student_ND[rows].astype(np.float64), teacher_NE[rows].astype(np.float64)
    centered, spread = x - x.mean(0), y - y.mean(0)
    gram = centered.T @ centered
    weight = np.linalg.inv(gram + fit.ridge * np.trace(gram) / len(gram) * np.eye(len(gram))) @ centered.T @ spread
    np.testing.assert_allclose(fit.layer.linear.weight.detach().numpy(), weight.T, atol=1e-5)


def test_noise_asks_for_more_regularization() -> None:
    few = fit_ridge(*spaces(26, noise=8.0)[:2], source_N=np.arange(26), seed=0)
    many = fit_ridge(*spaces(3000, noise=0.01)[:2], source_N=np.arange(3000), seed=0)
    assert few.ridge > many.ridge
