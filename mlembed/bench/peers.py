"""The tools that mlembed is compared with; a new one is a module that reads a job, and a line in the table."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from mlembed.bench.outcome import Outcome
from mlembed.bench.process import Ended, run_timed
from mlembed.bench.task import Task
from mlembed.bench.work import Work
from mlembed.models.encoder import load_encoder


@dataclass(frozen=True)
class Peer:
    """A tool that trains too.

    Args:
        package: what is imported.
        module: the module of mlembed that is run with a job file.
        how_to_install: for whom it is missing.
    """

    package: str
    module: str
    how_to_install: str


PEERS = {
    "sentence-transformers": Peer("sentence_transformers", "mlembed.bench.recipe", "pip install 'mlembed[bench]'"),
}


def missing(name: str) -> str | None:
    """Why a peer cannot be run here at all; None: it can."""
    peer = PEERS[name]
    if importlib.util.find_spec(peer.package) is None:
        return f"it is not installed: {peer.how_to_install}"
    return None


def version(name: str) -> str:
    """The installed version of a peer."""
    return metadata.version(name)


def run_peer(name: str, task: Task, folder: Path) -> Outcome:
    """Train with a peer.

    Args:
        name: a key of `PEERS`.
        task: what to do.
        folder: a new one, for this side and this round.

    Raises:
        TrainingFailed: the training failed.
    """
    assert task.student is not None
    model, recipe = task.config.model, task.config.bench.recipe
    asked = getattr(model.student, "max_length", None)
    student = load_encoder(task.student, key="model.student.name", max_length=asked)
    job = {
        "teacher": str(task.teacher),
        "teacher_max_length": model.teacher.max_length,
        "student": str(task.student),
        "max_length": student.max_length,
        "train": str(task.files["train"]),
        "output": str((folder / "student").absolute()),
        "result": str((folder / "result.json").absolute()),
        "epochs": task.config.trainer.epochs,
        "batch_size": recipe.batch_size,
        "lr": recipe.lr,
        "warmup": recipe.warmup,
        "precision": task.precision,
        "device": task.device,
        "seed": task.config.seed,
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job, indent=2, ensure_ascii=False), encoding="utf-8")
    ended = run_timed(
        ["-m", PEERS[name].module, str(path)],
        environment=task.environment(folder),
        log=folder / "log.txt",
        name=name,
    )
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return read_peer(result, ended, pairs=task.pairs, student=folder / "student")


def read_peer(result: dict[str, Any], ended: Ended, *, pairs: int, student: Path) -> Outcome:
    """What a peer's process has noted.

    Args:
        result: `began`, `seconds` by part, and `batches` as `[texts, tokens, tokens with padding]`.
        ended: its process.
        pairs: sentence pairs times epochs.
        student: where the trained student lies.
    """
    work = Work()
    for texts, tokens, padded in result["batches"]:
        work.add(texts=texts, tokens=tokens, padded=padded)
    seconds = {"start-up": result["began"] - ended.began, **result["seconds"], "evaluation": 0.0}
    seconds["ending"] = ended.seconds - sum(seconds.values())
    return Outcome(seconds, ended.peak_bytes, work, pairs, student)
