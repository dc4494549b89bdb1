"""Targets in fewer dimensions: a larger teacher's vectors, reduced by principal components of the corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mlembed.models.encoder import Dense, load_dense
from mlembed.models.folder import read_dense

# The folder in an exported student that says how its teacher's vectors were reduced.
REDUCTION = "teacher_reduction"


def fit_reduction(vectors_ND: np.ndarray, *, width: int) -> Dense:
    """The linear layer to the `width` principal components, most important first.

    The components are eigenvectors of `X^T X`, not centered: the dot products of the reduced vectors are then the best
    approximation of the whole vectors' dot products, for the first k dimensions at any k. With all dimensions it only
    turns the space: dot products stay what they were.

    Args:
        vectors_ND: the teacher's vectors of a sample of the corpus.
        width: K, at most D.

    Returns:
        A layer `[D] -> [K]` without bias.

    Source: Eckart and Young (1936), The approximation of one matrix by another of lower rank; for distillation to a
    smaller width, the example model_distillation of sentence-transformers.
    """
    vectors_ND = vectors_ND.astype(np.float64)
    # Ascending order of eigenvalues.
    _, vectors_DD = np.linalg.eigh(vectors_ND.T @ vectors_ND)
    components_KD = vectors_DD[:, ::-1][:, :width].T
    # The sign of an eigenvector is anybody's choice; this one is the same on all machines.
    largest_K = np.abs(components_KD).argmax(axis=1)
    components_KD = components_KD * np.sign(components_KD[np.arange(len(components_KD)), largest_K])[:, None]
    layer = Dense(vectors_ND.shape[1], width, bias=False, activation="identity")
    with torch.no_grad():
        layer.linear.weight.copy_(torch.from_numpy(components_KD.copy()))
    return layer


def explained(layer: Dense, vectors_ND: np.ndarray) -> float:
    """The share of the squared length of vectors that a reduction keeps."""
    reduced_NK = vectors_ND @ layer.linear.weight.detach().cpu().numpy().T
    return float(np.square(reduced_NK).sum() / np.square(vectors_ND).sum())


def read_reduction(student: Path) -> Dense | None:
    """How the teacher of an exported student was reduced; None: it was not."""
    path = student / REDUCTION
    return load_dense(read_dense(path)) if path.is_dir() else None
