"""Whether what comes out of the student can be compared with what comes out of the teacher."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlembed.check.findings import Finding, Severity
from mlembed.models.classifier import Classifier
from mlembed.models.encoder import Encoder
from mlembed.models.text_model import TextModel
from mlembed.report.vectors import unit_rows

# The vectors of sentences that have nothing to do with one another are no nearer than this, by their mean cosine.
COLLAPSED = 0.9


def described(model: TextModel) -> dict[str, Any]:
    """What a model gives, as JSON values."""
    about: dict[str, Any] = {
        "parameters": sum(one.numel() for one in model.parameters()),
        "max_length": model.max_length,
        "width": model.width,
    }
    if isinstance(model, Encoder):
        layers = [f"{one.linear.in_features} to {one.linear.out_features}" for one in model.dense]
        about |= {"pooling": model.pooling, "dense": layers, "normalize": model.normalize}
    if isinstance(model, Classifier):
        about |= {"labels": list(model.head.labels)}
    return about


def head_findings(teacher: TextModel, student: TextModel) -> list[Finding]:
    """Where the heads of an encoder and its student do not fit."""
    messages = []
    severity: Severity = "warns"
    if teacher.width != student.width:
        severity = "stops"
        messages.append(f"the teacher's vectors have {teacher.width} dimensions, the student's {student.width}")
    if isinstance(teacher, Encoder) and isinstance(student, Encoder) and teacher.normalize != student.normalize:
        lengths = {True: "length 1", False: "any length"}
        messages.append(
            f"the teacher's vectors have {lengths[teacher.normalize]}, the student's {lengths[student.normalize]}"
        )
    return [Finding("heads", severity, len(messages), messages=messages)] if messages else []


def spread(vectors_ND: np.ndarray) -> float:
    """The mean cosine of different sentences: near 1, a model says the same of all."""
    unit_ND = unit_rows(vectors_ND)
    count = len(unit_ND)
    total = float(np.square(unit_ND.sum(axis=0)).sum()) - count
    return total / max(1, count * (count - 1))


def spread_findings(cosines: dict[str, float]) -> list[Finding]:
    """A warning of models whose vectors are all alike; role -> mean cosine."""
    messages = [
        f"the {role}'s vectors of different sentences have a mean cosine of {cosine:.2f}: they are nearly all the same"
        for role, cosine in cosines.items()
        if cosine > COLLAPSED
    ]
    return [Finding("heads", "warns", len(messages), messages=messages)] if messages else []
