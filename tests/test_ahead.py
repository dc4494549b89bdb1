"""Steps are made ahead of the loop, and are what the loop itself would have made."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from toys import toy_sentences, toy_tokenizer, translate

from mlembed.data.ahead import Ahead
from mlembed.data.corpus import Corpus
from mlembed.data.gather import make_corpus
from mlembed.data.plan import BatchPlan
from mlembed.data.records import Row
from mlembed.data.steps import Share, Step, planned_steps
from mlembed.tokens import tokenize

CPU = torch.device("cpu")


def make_plan() -> BatchPlan:
    rows = [Row(text, translate(text, "xx"), "xx", "toy.tsv", at) for at, text in enumerate(toy_sentences(50))]
    corpus: Corpus = make_corpus(rows)
    tokens = tokenize(corpus.texts[:], tokenizer=toy_tokenizer(), max_length=64)
    return BatchPlan(corpus, tokens=tokens, batch_tokens=64, source_weight=0.5, seed=1)


def steps(plan: BatchPlan, *, epoch: int, position: int, count: int, rank: int = 0, processes: int = 1) -> list[Step]:
    found = planned_steps(
        {"distillation": plan},
        epoch=epoch,
        position=position,
        count=count,
        share=Share(accumulate=2, rank=rank, processes=processes, device=CPU),
    )
    return list(found)


def test_steps_go_through_the_epochs() -> None:
    plan = make_plan()
    epoch = list(plan.epoch(0))
    per_epoch = -(-len(epoch) // 2)
    found = steps(plan, epoch=0, position=0, count=per_epoch + 2)
    assert [(step.epoch, step.position) for step in found[-4:]] == [(0, per_epoch - 1), (1, 0), (1, 1), (1, 2)]
    for at, step in enumerate(found[:per_epoch]):
        wanted = epoch[2 * at : 2 * at + 2]
        assert [one.tolist() for one in step.parts[0].entries] == [one.tolist() for one in wanted]
        assert step.parts[0].weight == pytest.approx(sum(plan.weight(one) for one in wanted))
        assert [batch.tokens for batch in step.parts[0].batches] == [
            plan.batch(one, device=CPU).tokens for one in wanted
        ]


def test_a_place_within_an_epoch_gives_the_rest() -> None:
    plan = make_plan()
    whole = steps(plan, epoch=0, position=0, count=30)
    middle = whole[4]
    rest = steps(plan, epoch=middle.epoch, position=middle.position, count=25)
    assert [[one.tolist() for one in step.parts[0].entries] for step in rest] == [
        [one.tolist() for one in step.parts[0].entries] for step in whole[5:]
    ]


def test_processes_share_a_step_and_keep_one_another_company() -> None:
    plan = make_plan()
    per_epoch = -(-len(plan.epoch(0)) // 6)
    by_rank = [steps(plan, epoch=0, position=0, count=per_epoch, rank=rank, processes=3) for rank in range(3)]
    for shares in zip(*by_rank, strict=True):
        assert len({len(step.parts[0].batches) for step in shares}) == 1, "as many forwards everywhere"
        real = sum(step.parts[0].counted for step in shares)
        assert real == len(shares[0].parts[0].entries)


def test_items_come_in_order_and_are_made_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(5):
            made.append(number)
            yield number

    with Ahead(items(), depth=2) as ahead:
        assert next(ahead) == 0
        deadline = time.monotonic() + 5
        while len(made) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert made[:3] == [0, 1, 2], "while the first is used"
        assert list(ahead) == [1, 2, 3, 4]
        assert ahead.waited >= 0


def test_waiting_is_measured() -> None:
    def slowly() -> Iterator[int]:
        time.sleep(0.2)
        yield 1

    with Ahead(slowly()) as ahead:
        next(ahead)
        assert 0.1 < ahead.waited < 5


def test_an_error_comes_where_its_item_would_have() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the disk is gone")

    with Ahead(items()) as ahead:
        assert next(ahead) == 1
        with pytest.raises(ValueError, match="the disk is gone"):
            next(ahead)


def test_leaving_early_ends_the_thread() -> None:
    def endless() -> Iterator[np.ndarray]:
        while True:
            yield np.zeros(1)

    with Ahead(endless()) as ahead:
        next(ahead)
    assert not any(thread.name == "mlembed-ahead" and thread.is_alive() for thread in threading.enumerate())
