"""A closed-form start: a dense layer that puts a pretrained student into the teacher's space before the first step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mlembed.models.encoder import Dense

# Candidates for the ridge, as shares of the mean variance of the inputs.
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)
HELD_OUT_SHARE = 0.1
BLOCK_ROWS = 8192


@dataclass(frozen=True)
class RidgeFit:
    """A fitted layer.

    Args:
        layer: `[D_student] -> [D_teacher]`.
        ridge: the regularization that did best, as a share of the mean variance of the inputs.
        cosine: mean cosine to the teacher on the held-out part.
    """

    layer: Dense
    ridge: float
    cosine: float


def fit_ridge(student_ND: np.ndarray, teacher_NE: np.ndarray, *, source_N: np.ndarray, seed: int) -> RidgeFit:
    """Ridge regression from the student's pooled vectors to the teacher's.

    `W = argmin |X W + b - Y|^2 + r |W|^2`, solved by normal equations in float64 that are summed block by block; r is
    the candidate with the highest cosine on a held-out tenth of the sources.

    Args:
        student_ND: the student's pooled vectors of sources and translations, before any normalization.
        teacher_NE: for each the teacher's vector of its source.
        source_N: for each the number of its source; texts of one source are held out together, since their targets are
            the same and would be known.
        seed: of the choice of the held-out part.

    Source: Hoerl and Kennard (1970), Ridge Regression; as a map between embedding spaces, Mikolov et al. (2013),
    https://arxiv.org/abs/1309.4168.
    """
    sources = np.random.Generator(np.random.PCG64(seed)).permutation(np.unique(source_N))
    is_held_out_N = np.isin(source_N, sources[: max(1, int(HELD_OUT_SHARE * len(sources)))])
    held_out, fitted = np.flatnonzero(is_held_out_N), np.flatnonzero(~is_held_out_N)
    x_mean, y_mean = student_ND[fitted].mean(0, dtype=np.float64), teacher_NE[fitted].mean(0, dtype=np.float64)
    gram_DD = np.zeros((student_ND.shape[1], student_ND.shape[1]))
    cross_DE = np.zeros((student_ND.shape[1], teacher_NE.shape[1]))
    for start in range(0, len(fitted), BLOCK_ROWS):
        rows = fitted[start : start + BLOCK_ROWS]
        x_ND = student_ND[rows].astype(np.float64) - x_mean
        gram_DD += x_ND.T @ x_ND
        cross_DE += x_ND.T @ (teacher_NE[rows].astype(np.float64) - y_mean)
    scale = np.trace(gram_DD) / len(gram_DD)
    best: RidgeFit | None = None
    for ridge in RIDGES:
        weight_DE = np.linalg.solve(gram_DD + ridge * scale * np.eye(len(gram_DD)), cross_DE)
        bias_E = y_mean - x_mean @ weight_DE
        cosine = _mean_cosine(student_ND[held_out] @ weight_DE + bias_E, teacher_NE[held_out])
        if best is None or cosine > best.cosine:
            best = RidgeFit(_dense(weight_DE, bias_E), ridge, cosine)
    assert best is not None
    return best


def _mean_cosine(left_ND: np.ndarray, right_ND: np.ndarray) -> float:
    products_N = (left_ND * right_ND).sum(1)
    return float((products_N / (np.linalg.norm(left_ND, axis=1) * np.linalg.norm(right_ND, axis=1) + 1e-12)).mean())


def _dense(weight_DE: np.ndarray, bias_E: np.ndarray) -> Dense:
    layer = Dense(*weight_DE.shape, bias=True, activation="identity")
    with torch.no_grad():
        layer.linear.weight.copy_(torch.from_numpy(weight_DE.T))
        layer.linear.bias.copy_(torch.from_numpy(bias_E))
    return layer
