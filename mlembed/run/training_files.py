"""The files of a checkpoint: the student as a model folder, the optimizer, the random states, and where the run is."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from mlembed.compute import Processes
from mlembed.errors import ConfigError
from mlembed.export.model_folder import export_model, load_weights
from mlembed.export.sentence_transformers import write_dense
from mlembed.faults import fault_point
from mlembed.models.encoder import Dense
from mlembed.models.reduction import REDUCTION
from mlembed.models.text_model import TextModel
from mlembed.optimization import load_optimizer_tensors, optimizer_tensors
from mlembed.run.checkpoint import read_json

log = logging.getLogger("mlembed")

STUDENT, TEACHER, OPTIMIZER, STATE, RANDOM = "student", "teacher", "optimizer.safetensors", "state.json", "random.json"


def write_training_files(
    folder: Path,
    *,
    student: TextModel,
    optimizer: Optimizer,
    state: Mapping[str, Any],
    random_states: list[dict[str, Any]],
    card: str,
    reduction: Dense | None = None,
    teacher: TextModel | None = None,
) -> None:
    """Write everything that a resumed run needs into a folder.

    Args:
        folder: an existing, empty folder.
        student: saved as a model folder that other tools load.
        optimizer: of the student's parameters.
        state: JSON values.
        random_states: of all processes, by rank.
        card: README.md of the model folder.
        reduction: how the teacher's vectors are reduced; it lies with the student, which learnt them so.
        teacher: a teacher that learns; None: it is frozen.
    """
    (folder / STUDENT).mkdir()
    export_model(student, folder / STUDENT, card=card)
    if teacher is not None:
        (folder / TEACHER).mkdir()
        export_model(teacher, folder / TEACHER, card="# The teacher\n\nIt was trained together with the student.\n")
    if reduction is not None:
        write_dense(reduction, folder / STUDENT / REDUCTION)
    fault_point("save.mid_write")
    save_file(optimizer_tensors(optimizer, learners(student, teacher)), folder / OPTIMIZER)
    (folder / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
    (folder / RANDOM).write_text(json.dumps(random_states), encoding="utf-8")


def read_state(folder: Path) -> dict[str, Any]:
    """The JSON values of a checkpoint.

    Raises:
        ConfigError: when they are not those of a training run.
    """
    try:
        state = read_json(folder / STATE)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder / STATE} cannot be read: {error}") from error
    if not isinstance(state, dict) or not isinstance(state.get("signature"), dict):
        raise ConfigError(f"{folder / STATE} is not a training state")
    return state


def read_training_files(
    folder: Path,
    *,
    student: TextModel,
    optimizer: Optimizer,
    processes: Processes,
    allow_changes: bool,
    teacher: TextModel | None = None,
) -> None:
    """Put weights, optimizer and random states back.

    Args:
        folder: a checkpoint that verifies.
        student: gets the weights.
        optimizer: over the student's parameters.
        processes: each gets the random states of its rank.
        allow_changes: start anew what no longer fits because settings have changed, with a warning.
        teacher: a teacher that learns gets its weights, too.

    Raises:
        ConfigError: when they do not fit this student.
    """
    try:
        load_weights(student, folder / STUDENT)
        if teacher is not None:
            load_weights(teacher, folder / TEACHER)
        _load_optimizer(
            optimizer, learners(student, teacher), load_file(folder / OPTIMIZER), allow_changes=allow_changes
        )
        states = read_json(folder / RANDOM)
        if processes.rank < len(states) or not allow_changes:
            set_random_state(states[processes.rank])
    except (
        OSError,
        ValueError,
        ArithmeticError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,
        SafetensorError,
    ) as error:
        raise ConfigError(f"{folder} does not fit this run: {error}") from error


def learners(student: TextModel, teacher: TextModel | None) -> nn.Module:
    """All that learns, as one module, whose names of parameters are those of the optimizer's state."""
    return student if teacher is None else nn.ModuleDict({STUDENT: student, TEACHER: teacher})


def _load_optimizer(
    optimizer: Optimizer, models: nn.Module, tensors: dict[str, Tensor], *, allow_changes: bool
) -> None:
    try:
        load_optimizer_tensors(optimizer, models, tensors)
    except ValueError as error:
        if not allow_changes:
            raise
        log.warning("the optimizer's averages start anew: %s", error)


def random_state() -> dict[str, Any]:
    """The states of all random generators of this process, as JSON values."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
        # Of this process's own device: to look at the others would take memory on each of them.
        "cuda": torch.cuda.get_rng_state().numpy().tobytes().hex() if torch.cuda.is_available() else None,
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Go on from a state of `random_state`."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(_bytes(state["torch"]))
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(_bytes(state["cuda"]))


def _bytes(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
