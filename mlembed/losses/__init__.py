"""The distances between student and teacher; a new one is a file here, a line below, and a YAML file in conf/loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from mlembed.losses.contrastive import ContrastiveLoss
from mlembed.losses.cosine import CosineLoss
from mlembed.losses.matryoshka import MatryoshkaLoss
from mlembed.losses.mse import MSELoss
from mlembed.losses.output import DistillationLoss, LossOutput
from mlembed.losses.relational import RelationalLoss
from mlembed.losses.weighted_sum import SumLoss

LOSSES: dict[str, Callable[..., DistillationLoss]] = {
    "mse": MSELoss,
    "cosine": CosineLoss,
    "contrastive": ContrastiveLoss,
    "relational": RelationalLoss,
    "matryoshka": MatryoshkaLoss,
}


def make_loss(kind: str, *, weights: Mapping[str, float] | None = None, **settings: Any) -> DistillationLoss:
    """The loss of a configuration.

    Args:
        kind: a name of `LOSSES`, or `sum`.
        weights: for `sum`, the weight of each loss.
        settings: what the loss takes, such as `temperature` or `widths`.
    """
    if kind != "sum":
        return LOSSES[kind](**settings)
    assert weights is not None
    terms = {name: LOSSES[name](**_taken(LOSSES[name], settings)) for name in weights}
    return SumLoss(terms, weights=weights)


def _taken(loss: Callable[..., DistillationLoss], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a sum that one of its losses takes."""
    known = inspect.signature(loss).parameters
    return {name: value for name, value in settings.items() if name in known}


__all__ = ["LOSSES", "DistillationLoss", "LossOutput", "make_loss"]
