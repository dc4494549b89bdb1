"""From a corpus and a student to the batches of all epochs: token ids, the embeddings that are trained, the plan."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from mlembed.config import AdamW, TrainConfig
from mlembed.config_data import Data
from mlembed.data.corpus import Corpus
from mlembed.data.corpus_tokens import StoredTokens, store_tokens
from mlembed.data.plan import BatchPlan
from mlembed.data.sampling import Sampling
from mlembed.machine import Machine
from mlembed.models.compaction import compact_vocabulary
from mlembed.models.text_model import TextModel
from mlembed.step_size import find_batch_tokens, forwards_per_step

log = logging.getLogger("mlembed")


@dataclass(frozen=True)
class Planned:
    """What is trained on, and in which steps.

    Args:
        plan: the batches.
        tokens: token ids of the corpus's texts.
        batch_tokens: padded tokens of a forward, at most.
        accumulate: forwards of each process in a step.
    """

    plan: BatchPlan
    tokens: StoredTokens
    batch_tokens: int
    accumulate: int


def plan_batches(
    config: TrainConfig, *, corpus: Corpus, student: TextModel, machine: Machine, also_used: np.ndarray | None = None
) -> Planned:
    """Tokenize the corpus, leave unused embeddings out of the training, and plan the batches.

    Args:
        config: the configuration.
        corpus: the training groups.
        student: on its device; its embedding table may be replaced by one that trains used rows alone.
        machine: what it computes with.
        also_used: token ids that other text has which is trained on.

    Raises:
        ConfigError: a setting does not fit the data or the number of processes.
        ResourceError: not even the smallest batch fits into memory.
    """
    tokens = corpus_tokens(corpus, student=student, machine=machine)
    if config.model.student.compact_vocabulary:
        used = tokens.used_ids() if also_used is None else np.union1d(tokens.used_ids(), also_used)
        compact_vocabulary(student, used, sparse=row_wise(config, machine))
    batch_tokens, accumulate = _step_size(config, tokens=tokens, student=student, machine=machine)
    plan = BatchPlan(
        corpus,
        tokens=tokens,
        batch_tokens=batch_tokens,
        source_weight=config.data.source_weight,
        seed=config.seed,
        sampling=_sampling(config.data),
    )
    drawn = ", ".join(f"{language} {count}" for language, count in plan.texts_by_language().items())
    log.info("an epoch has %d sources and these translations: %s", plan.first_member, drawn)
    return Planned(plan, tokens, batch_tokens, accumulate)


def row_wise(config: TrainConfig, machine: Machine) -> bool:
    """Whether gradients of the embeddings are sparse; NCCL cannot add sparse gradients of several GPUs."""
    several_gpus = machine.processes.count > 1 and machine.compute.device.type == "cuda"
    return isinstance(config.optimizer, AdamW) and config.optimizer.row_wise and not several_gpus


def corpus_tokens(corpus: Corpus, *, student: TextModel, machine: Machine) -> StoredTokens:
    """Token ids of the training texts, on disk; the first process makes them where they are not there."""
    path = machine.processes.first(
        lambda: store_tokens(
            corpus,
            tokenizer=student.tokenizer,
            max_length=student.max_length,
            # A static encoder averages no special tokens.
            add_special_tokens=not student.is_static,
            poll=machine.poll,
        )
    )
    return StoredTokens(path, pad_id=int(student.tokenizer.pad_token_id))


def _step_size(config: TrainConfig, *, tokens: StoredTokens, student: TextModel, machine: Machine) -> tuple[int, int]:
    """Padded tokens of a forward, and forwards of each process in a step."""
    asked, step_tokens, count = config.trainer.batch_tokens, config.trainer.step_tokens, machine.processes.count
    if step_tokens is None:
        assert asked != "auto"
        return asked, config.trainer.accumulate
    if asked == "auto":
        share = max(1, step_tokens // count)
        mine = find_batch_tokens(student, tokens, step_tokens=share, compute=machine.compute, poll=machine.poll)
        batch_tokens = min(machine.processes.collect(mine))
    else:
        batch_tokens = asked
    return batch_tokens, forwards_per_step(step_tokens, batch_tokens=batch_tokens, processes=count)


def _sampling(data: Data) -> Sampling:
    return Sampling(
        temperature=data.temperature or 1.0,
        max_per_language=data.max_per_language,
        language_weights=data.language_weights or {},
    )
