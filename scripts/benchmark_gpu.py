"""Times mlembed's training steps with random weights of a known model's shape, as a share of the machine's bf16 peak.

    python scripts/benchmark_gpu.py [--shape minilm-l12|xlm-r-base|tiny] [--batch-tokens 16384] [--length 64]

Texts are random tokens of one length, so there is no padding, and no data and no weights are needed. Steps are those of
`mlembed train`: task, loss, optimizer and loop are its own. The first steps are not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertModel

from mlembed.alarms.watch import Watch
from mlembed.bench.peak import measure_peak
from mlembed.bench.work import Work, shape_of
from mlembed.compute import Compute, Processes, choose_device
from mlembed.data.gather import make_corpus
from mlembed.data.plan import BatchPlan
from mlembed.data.records import Row
from mlembed.losses import make_loss
from mlembed.models.encoder import Encoder
from mlembed.optimization import make_optimizer
from mlembed.report.bootstrap import Estimate
from mlembed.report.report import Report
from mlembed.signals import StopRequest
from mlembed.tasks.embedding import DISTILLATION, EmbeddingTask
from mlembed.tokens import TokenTable
from mlembed.trainer import Trainer
from mlembed.trainer_state import TrainerSettings, TrainerState

# Name -> vocabulary, width, inner width, layers, heads. The vocabulary is what a corpus uses of it.
SHAPES = {
    "xlm-r-base": (30_000, 768, 3072, 12, 12),
    "minilm-l12": (30_000, 384, 1536, 12, 12),
    "tiny": (100, 32, 64, 2, 2),
}
WARM_UP = 10
SETTINGS: dict[str, Any] = {
    "epochs": 1,
    "accumulate": 1,
    "schedule": "constant",
    "warmup": 0.0,
    "max_grad_norm": 1.0,
    "evaluate_every": None,
    "save_every": None,
    "metric": "cosine",
    "patience": None,
    "min_delta": 0.0,
}


class Records:
    """Keeps what the loop tells, and saves nothing."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    def step(self, record: dict[str, Any]) -> None:
        """Keep it."""
        self.steps.append(record)

    def evaluation(self, record: dict[str, Any]) -> None:
        """There is none."""

    def save(self, state: TrainerState) -> bool:
        """Nothing has to be saved."""
        return True

    def close(self) -> None:
        """Nothing is open."""


def random_encoder(shape: str, *, length: int) -> Encoder:
    vocabulary, width, inner, layers, heads = SHAPES[shape]
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=length,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertModel(config, add_pooling_layer=False)
    return Encoder(model, tokenizer=None, pooling="mean", dense=[], normalize=True, max_length=length)


def random_plan(shape: str, *, texts: int, length: int, batch_tokens: int) -> BatchPlan:
    """Sources with one translation each, all of one length."""
    generator = np.random.default_rng(0)
    sources = -(-texts // 2)
    ids = generator.integers(1, SHAPES[shape][0], size=2 * sources * length).astype(np.int32)
    offsets = np.arange(2 * sources + 1, dtype=np.int64) * length
    # Texts are numbered as their tokens are: the sources, then the translations.
    corpus = make_corpus(Row(f"source {at}", f"translation {at}", "xx", "random", at) for at in range(sources))
    tokens = TokenTable(ids=ids, offsets=offsets, pad_id=0)
    return BatchPlan(corpus, tokens=tokens, batch_tokens=batch_tokens, source_weight=1.0, seed=0)


def make_trainer(options: argparse.Namespace, *, device: torch.device) -> Trainer:
    student = random_encoder(options.shape, length=options.length).to(device)
    steps = options.steps + WARM_UP
    texts = steps * (options.batch_tokens // options.length)
    plan = random_plan(options.shape, texts=texts, length=options.length, batch_tokens=options.batch_tokens)
    targets_SD = np.random.default_rng(1).standard_normal((plan.corpus.source_count, student.width)).astype(np.float16)
    embedding = student.transformer.get_input_embeddings().weight
    report = Report({"student": {"xx": {"cosine": Estimate(0.5, 0.5, 0.5, 1)}}}, test_set="nothing")
    trainer = Trainer(
        student,
        task=EmbeddingTask(make_loss("mse"), targets_SD=targets_SD),
        plans={DISTILLATION: plan},
        optimizer=make_optimizer(student, embedding=embedding, kind="adamw", lr=1e-5, weight_decay=0.01),
        settings=TrainerSettings(**SETTINGS, max_steps=steps),
        evaluate=lambda: report,
        compute=Compute(device, options.precision),
        processes=Processes(device),
        stop=StopRequest(),
        watch=Watch(metric="cosine"),
    )
    trainer.recorder = Records()
    return trainer


def measure(options: argparse.Namespace) -> dict[str, Any]:
    device = choose_device(options.device)
    trainer = make_trainer(options, device=device)
    trainer.run()
    steps = trainer.recorder.steps[WARM_UP:]  # type: ignore[attr-defined]
    # A step asks for its loss as a number, and so waits for what the one before has left to do on a GPU.
    second = statistics.median(step["seconds"] for step in steps)
    texts = options.batch_tokens // options.length
    work = Work()
    work.add(texts=texts, tokens=texts * options.length, padded=texts * options.length)
    shape = shape_of(trainer.student)
    peaks = measure_peak(shape, tokens=work.tokens, device=device, seconds=options.peak_seconds)
    rate = shape.flops(tokens=work.tokens, attended=work.attended) / second / 1e9
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "shape": options.shape,
        "precision": options.precision,
        "texts": texts,
        "length": options.length,
        "seconds_a_step": second,
        "texts_per_s": texts / second,
        "tokens_per_s": work.tokens / second,
        "model_gflops": rate,
        "peak_gflops": peaks,
        "share_of_bf16_peak": rate / peaks["bf16"],
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="minilm-l12")
    parser.add_argument("--batch-tokens", type=int, default=16384)
    parser.add_argument("--length", type=int, default=64, help="tokens of a text")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--precision", choices=["bf16", "fp32", "fp16"], default="bf16")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--peak-seconds", type=float, default=2.0)
    print(json.dumps(measure(parser.parse_args()), indent=2))


if __name__ == "__main__":
    main()
