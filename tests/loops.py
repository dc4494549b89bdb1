"""A training loop of toy objects, for tests of one thing at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from toys import LANGUAGES, toy_encoder, toy_sentences, translate

from mlembed.alarms.watch import Watch
from mlembed.compute import Compute, Processes
from mlembed.data.gather import make_corpus
from mlembed.data.plan import BatchPlan
from mlembed.data.records import Row
from mlembed.losses import DistillationLoss, make_loss
from mlembed.models.encoder import Encoder
from mlembed.optimization import make_optimizer
from mlembed.progress import TrainingProgress
from mlembed.report.bootstrap import Estimate
from mlembed.report.report import Report
from mlembed.run.checkpoint import CheckpointStore
from mlembed.run.directory import RunDirectory
from mlembed.run.recorder import RunRecorder
from mlembed.signals import StopRequest
from mlembed.tasks.embedding import DISTILLATION, EmbeddingTask
from mlembed.trainer import Trainer
from mlembed.trainer_state import TrainerSettings

CPU = torch.device("cpu")
SETTINGS = {
    "epochs": 1,
    "max_steps": None,
    "accumulate": 1,
    "schedule": "constant",
    "warmup": 0.0,
    "max_grad_norm": None,
    "evaluate_every": None,
    "save_every": None,
    "metric": "cosine",
    "patience": None,
    "min_delta": 0.0,
}


def toy_rows() -> list[Row]:
    return [
        Row(source=text, target=translate(text, language), language=language, path="toy.tsv", line=at)
        for at, text in enumerate(toy_sentences(25), start=2)
        for language in LANGUAGES
    ]


def make_trainer(
    folder: Path,
    *,
    batch_tokens: int,
    loss: DistillationLoss | None = None,
    student: Encoder | None = None,
    values: list[float] | None = None,
    store: CheckpointStore | None = None,
    stops: bool = False,
    **settings: Any,
) -> Trainer:
    """A trainer of a toy student with SGD; `values` are what its evaluations give."""
    corpus = make_corpus(toy_rows())
    student = student or toy_encoder(dropout=0.0)
    plan = BatchPlan(
        corpus, tokens=student.tokenize(corpus.texts), batch_tokens=batch_tokens, source_weight=0.5, seed=3
    )
    targets_SD = np.random.default_rng(0).standard_normal((corpus.source_count, student.width)).astype(np.float16)
    optimizer = make_optimizer(student, kind="sgd", lr=1.0, weight_decay=0.0)
    processes, given = Processes(CPU), iter(values or [])

    def evaluate() -> Report:
        value = next(given, 0.5)
        return Report({"student": {"xx": {"cosine": Estimate(value, value, value, 1)}}}, test_set="toys")

    trainer = Trainer(
        student,
        task=EmbeddingTask(loss or make_loss("mse"), targets_SD=targets_SD),
        plans={DISTILLATION: plan},
        optimizer=optimizer,
        settings=TrainerSettings(**(SETTINGS | settings)),
        evaluate=evaluate,
        watch=Watch(metric="cosine", stops=stops),
        compute=Compute(CPU, "fp32"),
        processes=processes,
        stop=StopRequest(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    trainer.recorder = RunRecorder(
        run=RunDirectory(folder),
        store=store or CheckpointStore(folder / "checkpoints", keep=2),
        student=student,
        write_extra=lambda: {"optimizer": optimizer, "state": trainer.state_dict(), "card": ""},
        progress=TrainingProgress(kind="none", total_steps=trainer.total_steps, log_every=1),
        processes=processes,
    )
    return trainer


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.student.state_dict().items()}


def step_records(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [record for line in lines if "evaluation" not in (record := json.loads(line))]
