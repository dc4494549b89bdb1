"""The training loop on toy objects: gradients that do not depend on how a step is cut, and steps that are skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loops import make_trainer, step_records, weights
from torch import Tensor
from toys import toy_encoder

from mlembed.errors import Interrupted, ResourceError, TrainingFailed
from mlembed.losses import LossOutput, make_loss
from mlembed.run.checkpoint import CheckpointStore
from mlembed.signals import StopRequest


@pytest.mark.parametrize("kind", ["mse", "cosine"])
def test_a_step_does_not_depend_on_how_it_is_cut(tmp_path: Path, kind: str) -> None:
    """Under SGD, which shows a wrong scale: one batch of all texts, or many uneven ones accumulated.

    Sums are divided by the weight of the whole step, once; a mean of means would give texts of small batches more.
    """
    student = toy_encoder(dropout=0.0)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    whole = make_trainer(tmp_path / "whole", batch_tokens=100_000, loss=make_loss(kind), student=student)
    whole.run()
    cut = make_trainer(tmp_path / "cut", batch_tokens=90, loss=make_loss(kind), accumulate=100)
    sizes = {len(batch) for batch in cut.plan.epoch(0)}
    assert len(whole.plan.epoch(0)) == 1 and len(cut.plan.epoch(0)) > 5 and len(sizes) > 1
    cut.run()
    for name, value in weights(cut).items():
        change, expected = value - before[name], weights(whole)[name] - before[name]
        torch.testing.assert_close(
            change, expected, rtol=1e-3, atol=2e-6, msg=lambda text, name=name: f"{name}: {text}"
        )
    losses = [step_records(tmp_path / name)[0]["loss"] for name in ("whole", "cut")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    change = max(float((weights(whole)[name] - value).abs().max()) for name, value in before.items())
    assert change > 1e-3


class SpoiledLoss:
    """Mean squared error, but with some calls spoiled: `value` makes the loss nan, `gradient` its gradient alone."""

    compares_texts = False

    def __init__(self, *, calls: set[int], what: str) -> None:
        self.calls, self.what, self.call = calls, what, 0

    def __call__(self, student_ND: Tensor, *, teacher_GD: Tensor, group_N: Tensor, weight_N: Tensor) -> LossOutput:
        output = make_loss("mse")(student_ND, teacher_GD=teacher_GD, group_N=group_N, weight_N=weight_N)
        self.call += 1
        if self.call not in self.calls:
            return output
        if self.what == "value":
            return LossOutput(output.sum * float("nan"), output.count)
        # The root of 0 is 0, and its slope is infinite.
        return LossOutput(output.sum + (student_ND - student_ND.detach()).square().sum().sqrt(), output.count)


@pytest.mark.parametrize("what", ["value", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing(tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    spoiled = SpoiledLoss(calls={2}, what=what)
    trainer = make_trainer(tmp_path, batch_tokens=256, loss=spoiled)
    seen: list[dict[str, Tensor]] = []
    original = trainer.recorder.step

    def step(record: dict[str, Any]) -> None:
        seen.append(weights(trainer))
        original(record)

    trainer.recorder.step = step  # type: ignore[method-assign]
    trainer.run()
    assert all(torch.equal(seen[0][name], seen[1][name]) for name in seen[0])
    assert any(not torch.equal(seen[1][name], seen[2][name]) for name in seen[0])
    records = step_records(tmp_path)
    assert [at for at, record in enumerate(records, start=1) if "skipped" in record] == [2]
    assert records[1]["loss"] is None and records[1]["skipped"][0].startswith("toy.tsv:")
    assert trainer.state.skipped == 1 and trainer.state.skipped_in_a_row == 0
    assert "a step is skipped" in caplog.text and records[1]["skipped"][0] in caplog.text


def test_only_the_rows_of_the_bad_batch_of_an_accumulated_step_are_blamed(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, batch_tokens=200, loss=SpoiledLoss(calls={2}, what="value"), accumulate=3)
    bad = trainer.plan.places(trainer.plan.epoch(0)[1])
    trainer.run()
    assert step_records(tmp_path)[0]["skipped"] == bad


@pytest.mark.parametrize("what", ["value", "gradient"])
def test_three_in_a_row_end_the_run(tmp_path: Path, what: str) -> None:
    trainer = make_trainer(tmp_path, batch_tokens=100, loss=SpoiledLoss(calls={2, 3, 5, 6, 7}, what=what))
    with pytest.raises(TrainingFailed, match="not finite in 3 steps in a row"):
        trainer.run()
    assert [record["step"] for record in step_records(tmp_path) if "skipped" in record] == [2, 3, 5, 6, 7]


def test_early_stopping_and_the_best(tmp_path: Path) -> None:
    values = [0.9, 0.1, 0.3, 0.2, 0.3, 0.25, 0.8]
    trainer = make_trainer(tmp_path, batch_tokens=100, evaluate_every=1, patience=3, epochs=2, values=values)
    trainer.run()
    state = trainer.state
    assert (state.step, state.best_step, state.best_value, state.first_value) == (5, 4, 0.3, 0.9), (
        "of equal ones the newest"
    )
    assert trainer.total_steps > 5
    assert trainer.recorder.save(state)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-4", "step-5"]


def test_a_min_delta_is_what_counts_as_better(tmp_path: Path) -> None:
    values = [0.0, 0.5, 0.505, 0.52]
    trainer = make_trainer(tmp_path, batch_tokens=100, evaluate_every=1, max_steps=3, min_delta=0.01, values=values)
    trainer.run()
    assert trainer.state.best_step == 3


class FailingStore(CheckpointStore):
    """A store whose disk is full at some steps."""

    full_at: set[int]

    def save(self, step: int, **arguments: Any) -> None:
        if step in self.full_at:
            raise OSError(28, "No space left on device")
        super().save(step, **arguments)


def failing_store(folder: Path, *steps: int) -> FailingStore:
    store = FailingStore(folder / "checkpoints", keep=2)
    store.full_at = set(steps)
    return store


def test_the_best_is_always_one_that_was_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Else the run would end with a student that is nowhere."""
    values = [0.0, 0.5, 0.9, 0.4, 0.6]
    store = failing_store(tmp_path, 2, 3)
    trainer = make_trainer(tmp_path, batch_tokens=100, evaluate_every=1, max_steps=4, values=values, store=store)
    trainer.run()
    assert (trainer.state.best_step, trainer.state.best_value) == (4, 0.6)
    assert store.steps() == [4, 1]
    assert caplog.text.count("WAS NOT WRITTEN: [Errno 28]") == 2


def test_three_failed_saves_in_a_row_end_the_run(tmp_path: Path) -> None:
    store = failing_store(tmp_path, 2, 3, 5, 6, 7)
    trainer = make_trainer(tmp_path, batch_tokens=50, evaluate_every=1, store=store)
    with pytest.raises(ResourceError, match="saving failed 3 times in a row"):
        trainer.run()
    assert trainer.state.step == 7
    assert store.steps()[0] == 4


def test_a_last_checkpoint_that_fails_is_not_the_end_of_a_good_run(tmp_path: Path) -> None:
    store = failing_store(tmp_path, 3)
    trainer = make_trainer(tmp_path, batch_tokens=100, evaluate_every=1, max_steps=3, store=store)
    with pytest.raises(ResourceError, match="the last checkpoint was not written"):
        trainer.run()


def test_several_processes_end_at_the_same_step() -> None:
    """A process that got a signal goes on until all know of it: else the others would wait for it for ever."""
    mine, other = StopRequest(), StopRequest()
    mine.signal_number = 15
    votes = [sum(pair) for pair in zip(mine.votes(), other.votes(), strict=True)]
    mine.check_agreed()
    for stop in (mine, other):
        stop.agree(votes)
        with pytest.raises(Interrupted, match="SIGTERM") as ended:
            stop.check_agreed()
        assert ended.value.exit_code == 143
    # Both got it, as from torchrun: that is still the same signal.
    mine.agree([0.0, 2.0])
    with pytest.raises(Interrupted, match="SIGTERM"):
        mine.check_agreed()
