"""What decides how fast a step runs, and nothing of what it computes: forwards, precision of the stream, memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from crashes import losses, records
from torch import Tensor
from toys import toy_command, toy_encoder, toy_sentences

from mlembed.cli import main
from mlembed.compute import Compute
from mlembed.errors import ConfigError, Interrupted, ResourceError
from mlembed.models.encoder import Encoder, load_encoder
from mlembed.models.execution import compile_student, recompute_activations
from mlembed.models.static import StaticTransformer
from mlembed.step_size import find_batch_tokens, forwards_per_step

CPU = Compute(torch.device("cpu"), "fp32")


class Small(Encoder):
    """An encoder whose device has room for a number of tokens only."""

    room = 1024

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        if ids_BT.numel() > self.room:
            raise torch.OutOfMemoryError
        return super().forward(ids_BT, mask_BT)


def small(*, room: int) -> Small:
    plain = toy_encoder()
    parts = {name: getattr(plain, name) for name in ("tokenizer", "pooling", "normalize", "max_length")}
    student = Small(plain.transformer, dense=[], **parts)
    student.room = room
    return student


def test_forwards_of_a_step() -> None:
    assert forwards_per_step(4096, batch_tokens=1024, processes=1) == 4
    assert forwards_per_step(4096, batch_tokens=1024, processes=2) == 2
    with pytest.raises(ConfigError, match=r"4096 is no multiple of .*1000; write step_tokens=4000"):
        forwards_per_step(4096, batch_tokens=1000, processes=1)
    with pytest.raises(ConfigError, match=r"on each of 8 devices; write step_tokens=8192"):
        forwards_per_step(4096, batch_tokens=1024, processes=8)


def test_the_largest_batch_that_fits_is_found_and_leaves_no_trace() -> None:
    student = small(room=1024).eval()
    tokens = student.tokenize(toy_sentences(2000))
    before = torch.get_rng_state()
    found = find_batch_tokens(student, tokens, step_tokens=8192, compute=CPU)
    assert found in (256, 512, 1024), "what does not fit is not taken, what divides the step is"
    assert torch.equal(torch.get_rng_state(), before), "dropout draws as if nothing had been measured"
    assert all(parameter.grad is None for parameter in student.parameters())
    assert not student.training


def test_it_says_when_nothing_fits_and_ends_when_asked() -> None:
    student = small(room=100)
    tokens = student.tokenize(toy_sentences(2000))
    with pytest.raises(ResourceError, match=r"256 tokens is out of memory already\. Use a smaller student"):
        find_batch_tokens(student, tokens, step_tokens=1024, compute=CPU)

    def end() -> None:
        raise Interrupted(2, "ended")

    with pytest.raises(Interrupted):
        find_batch_tokens(student, tokens, step_tokens=1024, compute=CPU, poll=end)


def test_a_step_larger_than_the_corpus_is_measured_with_all_of_it() -> None:
    student = toy_encoder()
    tokens = student.tokenize(toy_sentences(10))
    assert find_batch_tokens(student, tokens, step_tokens=2**20 + 1, compute=CPU) == 2**20 + 1


def test_auto_is_found_once_and_kept_by_the_run(toy_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [*toy_command(toy_folder), f"run.dir={run}", "trainer.epochs=1"]
    auto = ["trainer.batch_tokens=auto", "trainer.step_tokens=1024"]
    assert main([*command, *auto]) == 0
    stored = json.loads((run / "config.json").read_text())["trainer"]
    assert stored["batch_tokens"] in (256, 512, 1024)
    assert main([*command, *auto, "trainer.epochs=2"]) == 0, "auto is what was found at the start"
    assert json.loads((run / "config.json").read_text())["trainer"]["batch_tokens"] == stored["batch_tokens"]
    texts = [record["texts"] for record in records(run) if "texts" in record]
    whole = tmp_path / "whole"
    assert main([*command, f"run.dir={whole}", "trainer.batch_tokens=1024", "trainer.epochs=2"]) == 0
    assert sum(texts) == sum(record["texts"] for record in records(whole) if "texts" in record)
    assert len(texts) == pytest.approx(len(losses(whole)), abs=2), "the effective batch stays what it was"


def test_a_step_can_be_given_instead_of_accumulation(toy_folder: Path, tmp_path: Path) -> None:
    command = [*toy_command(toy_folder), "trainer.batch_tokens=256"]
    assert main([*command, f"run.dir={tmp_path / 'one'}", "trainer.accumulate=2"]) == 0
    assert main([*command, f"run.dir={tmp_path / 'two'}", "trainer.step_tokens=512"]) == 0
    assert losses(tmp_path / "two") == losses(tmp_path / "one")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["trainer.batch_tokens=auto"], "needs trainer.step_tokens=N"),
        (["trainer.step_tokens=512", "trainer.accumulate=2"], "accumulate follows from step_tokens"),
    ],
)
def test_what_contradicts_itself(given: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *given]) == 2
    assert message in capsys.readouterr().err


def test_activations_that_are_computed_again_give_the_same_training(toy_folder: Path, tmp_path: Path) -> None:
    """Dropout too: the random state of the first forward is put back for the second."""
    command = toy_command(toy_folder)
    for name, setting in (("kept", "false"), ("again", "true")):
        assert main([*command, f"run.dir={tmp_path / name}", f"trainer.gradient_checkpointing={setting}"]) == 0
    assert losses(tmp_path / "again") == pytest.approx(losses(tmp_path / "kept"), rel=1e-6)
    student = toy_encoder()
    recompute_activations(student)
    assert any(getattr(module, "gradient_checkpointing", False) for module in student.transformer.modules())


@pytest.mark.slow
def test_a_compiled_student_learns_the_same(toy_folder: Path, tmp_path: Path) -> None:
    command = [*toy_command(toy_folder), "model.student.dropout=0", "trainer.epochs=1"]
    for name in ("false", "true"):
        assert main([*command, f"run.dir={tmp_path / name}", f"trainer.compile={name}"]) == 0
    assert losses(tmp_path / "true") == pytest.approx(losses(tmp_path / "false"), rel=1e-4)
    load_encoder(tmp_path / "true" / "student", key="k")


def test_a_static_student_has_nothing_to_compile_or_to_compute_again() -> None:
    plain = toy_encoder()
    table = torch.nn.Embedding(len(plain.tokenizer), 8)
    student = Encoder(
        StaticTransformer(table), tokenizer=plain.tokenizer, pooling="mean", dense=[], normalize=True, max_length=32
    )
    with pytest.raises(ConfigError, match=r"trainer\.compile: a static student"):
        compile_student(student)
    with pytest.raises(ConfigError, match=r"trainer\.gradient_checkpointing: a student of type static"):
        recompute_activations(student)


def stream_types(encoder: Encoder, *, compute: Compute) -> set[torch.dtype]:
    """The types of what the layers hand on."""
    seen = set()
    hooks = [
        layer.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
        for layer in (encoder.transformer.embeddings, *encoder.transformer.encoder.layer)
    ]
    tokens = encoder.tokenize(toy_sentences(4))
    with compute.autocast():
        encoder(*tokens.padded(np.arange(4), device=compute.device))
    for hook in hooks:
        hook.remove()
    return seen


def test_the_stream_between_layers_is_as_narrow_as_the_products(toy_folder: Path) -> None:
    encoder = load_encoder(toy_folder / "teacher", key="k")
    assert stream_types(encoder, compute=Compute(torch.device("cpu"), "bf16")) == {torch.bfloat16}
    assert stream_types(encoder, compute=CPU) == {torch.float32}


def test_a_narrow_stream_keeps_the_vectors(toy_folder: Path) -> None:
    encoder = load_encoder(toy_folder / "teacher", key="k").eval()
    tokens = encoder.tokenize(toy_sentences(50))
    ids_BT, mask_BT = tokens.padded(np.arange(50), device=CPU.device)
    with torch.no_grad():
        wanted_BD = encoder(ids_BT, mask_BT)
        with Compute(CPU.device, "bf16").autocast():
            found_BD = encoder(ids_BT, mask_BT)
    assert found_BD.dtype == torch.float32
    assert float(torch.nn.functional.cosine_similarity(found_BD, wanted_BD).min()) > 0.999


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_memory_that_is_freed_stays_with_the_process() -> None:
    """128 MiB: more than glibc keeps by itself."""
    program = """
import sys, psutil, torch
from mlembed.compute import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
block = torch.ones(32, 1024, 1024)
held = psutil.Process().memory_info().rss
del block
print(held - psutil.Process().memory_info().rss)
"""
    given_back = {
        how: int(subprocess.run([sys.executable, "-c", program, how], capture_output=True, check=True).stdout)
        for how in ("keep", "leave")
    }
    assert given_back["leave"] > 100 * 2**20 > 20 * 2**20 > given_back["keep"]
