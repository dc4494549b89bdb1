"""Out of memory: the batch is named, and halves of it give the same step."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from crashes import (
    assert_same_run,
    evaluations,
    losses,
    records,
    reference,
    run_to_end,
    run_with_fault,
    student_hash,
    survival_command,
)
from loops import make_trainer, step_records, weights
from torch import Tensor
from toys import toy_encoder, toy_sentences

from mlembed.cli import main
from mlembed.compute import Compute
from mlembed.errors import ResourceError
from mlembed.inputs import Inputs
from mlembed.losses import make_loss
from mlembed.memory import is_out_of_memory
from mlembed.models.answer import answer
from mlembed.models.encoder import Encoder

ALLOCATOR = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 68719476736 bytes. Error code 12"
CPU = Compute(torch.device("cpu"), "fp32")
ERRORS: dict[str, Callable[[], Exception]] = {
    "gpu": torch.OutOfMemoryError,
    "cpu": lambda: RuntimeError(ALLOCATOR),
    "python": MemoryError,
}


class Cramped(Encoder):
    """An encoder with room for a number of tokens only: in the forward, or in the backward when that has begun."""

    room, where, kind, failures = 1 << 20, "forward", "gpu", 0

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        self.is_full = ids_BT.numel() > self.room
        if self.is_full and self.where == "forward":
            self.fail()
        return super().forward(ids_BT, mask_BT)

    def fail(self) -> None:
        self.failures += 1
        raise ERRORS[self.kind]()

    def look(self, gradient: Tensor) -> Tensor:
        """Of the first layer's weights, when those of the last have their gradients."""
        if self.is_full:
            self.fail()
        return gradient


def cramped(*, room: int, where: str = "forward", kind: str = "gpu") -> Cramped:
    plain = toy_encoder(dropout=0.0)
    parts = {name: getattr(plain, name) for name in ("tokenizer", "pooling", "normalize", "max_length")}
    student = Cramped(plain.transformer, dense=[], **parts)
    student.room, student.where, student.kind = room, where, kind
    if where == "backward":
        student.transformer.encoder.layer[0].attention.self.query.weight.register_hook(student.look)
    return student


@pytest.mark.parametrize(("where", "kind"), [("forward", "gpu"), ("backward", "cpu"), ("forward", "python")])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_halves_of_a_batch_give_the_same_step(tmp_path: Path, where: str, kind: str, accumulate: int) -> None:
    """Under SGD, to rounding; also when the backward had begun, and some parameters had got their gradients."""
    settings = {"batch_tokens": 250, "accumulate": accumulate, "epochs": 2}
    whole = make_trainer(tmp_path / "whole", student=cramped(room=1 << 20), **settings)
    student = cramped(room=100, where=where, kind=kind)
    before = weights(whole)
    cut = make_trainer(tmp_path / "cut", student=student, **settings)
    for trainer in (whole, cut):
        trainer.run()
    assert (cut.state.pieces, student.failures) == (4, 2), "once halved, it is not tried in vain again"
    assert cut.state.step == whole.state.step > 2
    for name, value in weights(cut).items():
        change, expected = value - before[name], weights(whole)[name] - before[name]
        torch.testing.assert_close(change, expected, rtol=1e-3, atol=2e-6)
    assert max(float((weights(cut)[name] - value).abs().max()) for name, value in before.items()) > 1e-3
    found, wanted = step_records(tmp_path / "cut"), step_records(tmp_path / "whole")
    for key in ("loss", "grad_norm"):
        assert [one[key] for one in found] == pytest.approx([one[key] for one in wanted], rel=1e-4)
    assert [one["texts"] for one in found] == [one["texts"] for one in wanted]
    assert [one["pieces"] for one in found] == [4] * len(found)
    assert [len(one.get("out_of_memory", [])) for one in found] == [2] + [0] * (len(found) - 1)
    assert "tokens (rows such as toy.tsv:" in found[0]["out_of_memory"][0]


def test_a_single_text_that_does_not_fit_is_named(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, batch_tokens=250, student=cramped(room=2))
    with pytest.raises(
        ResourceError, match=r"of 1 texts of \d+ tokens \(rows such as toy.tsv:\d+\)\. That is a single"
    ):
        trainer.run()


@pytest.mark.parametrize("kind", ["contrastive", "relational", "sum"])
def test_a_loss_that_compares_texts_is_not_cut(tmp_path: Path, kind: str) -> None:
    settings: dict[str, dict[str, Any]] = {
        "contrastive": {"temperature": 0.1},
        "sum": {"weights": {"mse": 1.0, "relational": 0.1}},
    }
    loss = make_loss(kind, **settings.get(kind, {}))
    trainer = make_trainer(tmp_path, batch_tokens=250, student=cramped(room=100), loss=loss)
    with pytest.raises(ResourceError, match=r"compares the texts of a batch.*smaller trainer\.batch_tokens"):
        trainer.run()
    assert not make_loss("sum", weights={"mse": 1.0, "relational": 0.0}).compares_texts


def test_other_errors_are_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (RuntimeError("shapes do not match"), ValueError("can't allocate memory"), OSError("no space")):
        assert not is_out_of_memory(error)
    monkeypatch.setitem(ERRORS, "gpu", lambda: RuntimeError("shapes do not match"))
    trainer = make_trainer(tmp_path, batch_tokens=250, student=cramped(room=100))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        trainer.run()


def test_pytorch_says_what_is_looked_for() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)


def test_an_optimizer_without_room_is_not_a_batch_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(tmp_path, batch_tokens=250)

    def fail(*_: object) -> None:
        raise RuntimeError(ALLOCATOR)

    monkeypatch.setattr(trainer.optimizer, "step", fail)
    with pytest.raises(ResourceError, match="in the step of the optimizer"):
        trainer.run()


def test_rows_are_answered_in_pieces(caplog: pytest.LogCaptureFixture) -> None:
    texts = toy_sentences(60)
    student = cramped(room=150)
    inputs = Inputs(student.tokenize(texts))
    found = answer(student, inputs, compute=CPU, batch_tokens=500)
    assert student.failures == 2 and caplog.text.count("out of memory with a batch of") == 2
    student.room = 1 << 20
    np.testing.assert_allclose(found, answer(student, inputs, compute=CPU, batch_tokens=500), atol=1e-5)
    student.room = 1
    with pytest.raises(ResourceError, match="a single text"):
        answer(student, inputs, compute=CPU)


def test_a_run_that_goes_on_keeps_the_halves(toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the same bits as the run that nothing else interrupted; dropout draws other masks for halves."""
    fault, whole, run = "backward:5:MemoryError", tmp_path / "whole", tmp_path / "run"
    assert run_with_fault(monkeypatch, fault, survival_command(toy_folder, run=whole)) == 0
    arguments = survival_command(toy_folder, run=run)
    assert run_to_end(arguments, output=tmp_path / "out.txt", fault=f"{fault},step:11") == -signal.SIGKILL
    assert main(arguments) == 0
    assert_same_run(run, whole)
    steps = [record for record in records(run) if "loss" in record]
    assert [record.get("pieces", 1) for record in steps] == [1] * 4 + [2] * 12
    assert [record["step"] for record in steps if "out_of_memory" in record] == [5]
    expected = reference(toy_folder)
    assert {step: losses(run)[step] for step in range(1, 5)} == {step: losses(expected)[step] for step in range(1, 5)}
    assert list(evaluations(run)) == list(evaluations(expected))
    said = (run / "log.txt").read_text()
    assert said.count("from now on each batch is read in 2 forwards") == 1
    assert student_hash(run) != student_hash(expected)
