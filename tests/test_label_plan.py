"""Batches of rows with answers, alone and beside those of another term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch

from mlembed.data import label_plan as label_plan_module
from mlembed.data.label_plan import LabelPlan
from mlembed.data.steps import Share, Step, planned_steps, rows_to_blame
from mlembed.inputs import Inputs
from mlembed.tokens import TokenTable

CPU = torch.device("cpu")


def table(lengths: Sequence[int]) -> TokenTable:
    offsets = np.cumsum([0, *lengths])
    return TokenTable(np.arange(offsets[-1], dtype=np.int32) + 1, offsets, pad_id=0)


def make_plan(inputs: Inputs, *, batch_tokens: int = 60, seed: int = 1, **options: object) -> LabelPlan:
    places = [f"toy.tsv:{at + 2}" for at in range(len(inputs))]
    return LabelPlan(inputs, places=places, batch_tokens=batch_tokens, seed=seed, **options)  # type: ignore[arg-type]


def texts(count: int = 50, *, longest: int = 20) -> Inputs:
    return Inputs(table(np.random.default_rng(0).integers(1, longest, count).tolist()))


# Rows of 2, 3 and 0 words; the last word of the second row was cut off.
WORDS = Inputs(
    table([4, 4, 2]), first_W=np.array([1, 2, 1, 2, -1]), word_offsets=np.array([0, 2, 5, 5], dtype=np.int64)
)


def as_lists(batches: Sequence[np.ndarray]) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


@pytest.mark.parametrize("pool", [16, 16384])
def test_an_epoch_has_each_row_once(pool: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_plan_module, "POOL_TEXTS", pool)
    plan = make_plan(texts())
    epochs = [plan.epoch(epoch) for epoch in range(3)]
    for batches in epochs:
        assert sorted(np.concatenate(batches).tolist()) == list(range(50))
    assert len({str(as_lists(batches)) for batches in epochs}) == 3, "each in an order of its own"
    sizes = [len(batch) for batch in epochs[0]]
    assert sizes != sorted(sizes) and sizes != sorted(sizes, reverse=True), "batches are shuffled too"


def test_an_epoch_is_a_pure_function_of_seed_and_number() -> None:
    plan, again, other = make_plan(texts()), make_plan(texts()), make_plan(texts(), seed=2)
    wanted = {epoch: as_lists(plan.epoch(epoch)) for epoch in (0, 1, 2)}
    for epoch in (2, 0, 1, 1, 0):
        assert as_lists(again.epoch(epoch)) == wanted[epoch], "whatever was asked for before"
        assert as_lists(other.epoch(epoch)) != wanted[epoch]


def test_a_batch_has_room_for_its_tokens() -> None:
    inputs = Inputs(table([*texts().lengths_N.tolist(), 100]))
    for batch in make_plan(inputs).epoch(0):
        longest = int(inputs.lengths_N[batch].max())
        assert longest * len(batch) <= 60 or batch.tolist() == [50], "a row that is longer stands alone"
    few = make_plan(inputs, batch_rows=2)
    assert max(len(batch) for batch in few.epoch(0)) == 2
    assert sorted(np.concatenate(few.epoch(0)).tolist()) == list(range(51))


def test_a_batch_is_what_stands_in_its_rows() -> None:
    plan = make_plan(texts(), row_weights_N=np.arange(50) / 10)
    entries = plan.epoch(0)[0]
    batch = plan.batch(entries, device=CPU)
    for row, ids_T in zip(entries.tolist(), batch.ids_BT.tolist(), strict=True):
        start, end = plan.inputs.tokens.offsets[row : row + 2]
        assert ids_T == [*range(start + 1, end + 1), *[0] * (len(ids_T) - (end - start))]
    assert batch.tokens == plan.inputs.lengths_N[entries].sum()
    assert batch.rows_B.tolist() == batch.answers_M.tolist() == entries.tolist()
    torch.testing.assert_close(batch.weight_M, torch.tensor(entries / 10, dtype=torch.float32))
    torch.testing.assert_close(batch.weight_B, batch.weight_M)
    assert plan.weight(entries) == pytest.approx(entries.sum() / 10)
    assert make_plan(texts()).weight(entries) == len(entries), "without weights each row counts 1"


def test_words_that_were_read_count() -> None:
    plan = make_plan(WORDS, row_weights_N=np.array([1.0, 0.5, 7.0]))
    assert [plan.weight(np.array([row])) for row in range(3)] == [2.0, 1.0, 0.0]
    batch = plan.batch(np.array([1, 2, 0]), device=CPU)
    assert batch.answers_M.tolist() == [2, 3, 0, 1], "their numbers among the words of all rows"
    assert batch.weight_M.tolist() == [0.5, 0.5, 1.0, 1.0]
    assert batch.weight_B.tolist() == [0.5, 7.0, 1.0]
    assert plan.weight(np.array([1, 2, 0])) == float(batch.weight_M.sum())


def test_rows_are_drawn_by_their_shares() -> None:
    draws_N = np.array([1.0, 1.0, 2.0, 4.0, 0.0, 0.3])
    plan = make_plan(Inputs(table([3] * 6)), draws_N=draws_N)
    share_N = 6 * draws_N / draws_N.sum()
    drawn_EN = np.array([np.bincount(np.concatenate(plan.epoch(epoch)), minlength=6) for epoch in range(2000)])
    assert (drawn_EN.sum(axis=1) == 6).all(), "an epoch is as long as ever"
    assert (drawn_EN >= np.floor(share_N)).all() and (drawn_EN <= np.ceil(share_N)).all()
    np.testing.assert_allclose(drawn_EN.mean(axis=0), share_N, atol=0.05)


def test_places_are_named_once() -> None:
    assert make_plan(texts()).places(np.array([4, 1, 4])) == ["toy.tsv:6", "toy.tsv:3"]


def two_plans() -> Mapping[str, LabelPlan]:
    """Of the first one an epoch has many more batches than of the second one."""
    plans = {"first": make_plan(texts(80)), "second": make_plan(texts(20), seed=5)}
    assert len(plans["first"].epoch(0)) > 2 * len(plans["second"].epoch(0)) > 4
    return plans


def steps(count: int, *, epoch: int = 0, position: int = 0, rank: int = 0, processes: int = 1) -> list[Step]:
    share = Share(accumulate=2, rank=rank, processes=processes, device=CPU)
    return list(planned_steps(two_plans(), epoch=epoch, position=position, count=count, share=share))


def entries_of(found: Sequence[Step], part: int) -> list[list[int]]:
    return [entries.tolist() for step in found for entries in step.parts[part].entries]


def test_the_second_term_begins_anew_as_often_as_it_must() -> None:
    plans, found = two_plans(), steps(30)
    assert [part.term for part in found[0].parts] == ["first", "second"]
    own = [one for epoch in range(9) for one in as_lists(plans["first"].epoch(epoch))]
    first = entries_of(found, 0)
    assert first == own[: len(first)]
    cycled = [one for epoch in range(30) for one in as_lists(plans["second"].epoch(epoch))]
    assert entries_of(found, 1) == cycled[:60], "two batches in each step, also in the last one of an epoch"
    for step in found:
        for part in step.parts:
            assert part.weight == sum(part.plan.weight(entries) for entries in part.entries)
        assert step.texts == sum(len(entries) for part in step.parts for entries in part.entries)


def test_a_run_goes_on_from_any_place() -> None:
    found = steps(25)
    for done in range(24):
        rest = steps(24 - done, epoch=found[done].epoch, position=found[done].position)
        for part in (0, 1):
            assert entries_of(rest, part) == entries_of(found[done + 1 :], part)
        assert [(step.epoch, step.position) for step in rest] == [
            (step.epoch, step.position) for step in found[done + 1 :]
        ]


def test_processes_share_both_parts() -> None:
    by_rank = [steps(12, rank=rank, processes=3) for rank in range(3)]
    idle = 0
    for shares in zip(*by_rank, strict=True):
        for number in (0, 1):
            parts = [step.parts[number] for step in shares]
            assert len({len(part.batches) for part in parts}) == 1, "as many forwards everywhere"
            assert len({str(as_lists(part.entries)) for part in parts}) == 1
            counted = [batch.rows_B.tolist() for part in parts for batch in part.batches[: part.counted]]
            assert sorted(counted) == sorted(as_lists(parts[0].entries)), "each batch counts in one process"
            idle += sum(part.idle for part in parts)
    assert idle > 0


def test_rows_without_any_word_stop_nothing() -> None:
    empty = Inputs(table([2, 2]), first_W=np.array([-1]), word_offsets=np.array([0, 1, 1]))
    share = Share(accumulate=1, rank=0, processes=1, device=CPU)
    (step,) = planned_steps({"words": make_plan(empty)}, epoch=0, position=0, count=1, share=share)
    (part,) = step.parts
    assert part.weight > 0, "something to divide by"
    assert float(part.batches[0].weight_M.sum()) == 0 and part.batches[0].answers_M.tolist() == []


def test_rows_are_blamed_in_the_part_that_they_are_of() -> None:
    (step,) = steps(1)
    bad = step.parts[1].entries[1]
    wanted = {f"toy.tsv:{row + 2}" for row in bad.tolist()}
    assert set(rows_to_blame(step, sums=[[1.0, 2.0], [3.0, float("nan")]], rank=0, processes=1)) == wanted
    everything = rows_to_blame(step, sums=[[1.0, 2.0], [3.0, 4.0]], rank=0, processes=1)
    assert len(everything) == step.texts
