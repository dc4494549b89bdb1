"""A larger teacher's vectors in fewer dimensions, and students that can be cut."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import toy_command, toy_sentences, write_toy_model

from mlembed.cli import main
from mlembed.compute import Compute
from mlembed.models.encode import encode
from mlembed.models.encoder import load_encoder
from mlembed.models.reduction import REDUCTION, explained, fit_reduction, read_reduction

CPU = Compute(torch.device("cpu"), "fp32")
TEXTS = toy_sentences(40, seed=3)


def vectors(count: int = 300, width: int = 12) -> np.ndarray:
    """Vectors that lie about a middle far from 0, along some directions more than along others."""
    generator = np.random.default_rng(0)
    mixed = generator.standard_normal((count, width)) * np.geomspace(4, 0.1, width)
    return (mixed @ np.linalg.qr(generator.standard_normal((width, width)))[0] + 2.0).astype(np.float32)


def reduced(vectors_ND: np.ndarray, width: int) -> np.ndarray:
    with torch.no_grad():
        result: np.ndarray = fit_reduction(vectors_ND, width=width)(torch.from_numpy(vectors_ND)).numpy()
    return result


def test_all_dimensions_only_turn_the_space() -> None:
    vectors_ND = vectors()
    turned_ND = reduced(vectors_ND, 12)
    np.testing.assert_allclose(turned_ND @ turned_ND.T, vectors_ND @ vectors_ND.T, rtol=1e-4, atol=1e-3)
    lengths_K = np.square(turned_ND).sum(0)
    assert (np.diff(lengths_K) < 0).all(), "most important first"


def test_fewer_dimensions_keep_what_a_truncated_svd_keeps() -> None:
    vectors_ND = vectors()
    kept = np.square(np.linalg.svd(vectors_ND, compute_uv=False))
    layer = fit_reduction(vectors_ND, width=4)
    assert explained(layer, vectors_ND) == pytest.approx(kept[:4].sum() / kept.sum(), rel=1e-5)
    assert layer.linear.bias is None and layer.linear.weight.shape == (4, 12)


def test_the_sign_of_a_component_does_not_depend_on_the_solver() -> None:
    weight_KD = fit_reduction(vectors(), width=5).linear.weight.detach().numpy()
    assert (weight_KD[np.arange(5), np.abs(weight_KD).argmax(axis=1)] > 0).all()


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run `copy` with a teacher of 32 dimensions reduced to 8, and a narrow pretrained student."""
    folder = tmp_path_factory.mktemp("reduction")
    words = [*toy_command(folder), "trainer.progress=none"]
    write_toy_model(folder / "narrow", width=16, seed=5)
    assert main([*words, "model.teacher.width=8", f"run.dir={folder / 'copy'}"]) == 0
    return folder


def test_a_copy_is_reduced_as_its_teacher(workshop: Path) -> None:
    student = load_encoder(workshop / "copy" / "student", key="k")
    assert student.width == 8 and len(student.dense) == 1
    report = json.loads((workshop / "copy" / "report.json").read_text(encoding="utf-8"))
    for system in ("teacher", "before"):
        # The student starts where the teacher is.
        assert report["systems"][system]["languages"]["xx"]["cosine"]["value"] == pytest.approx(
            report["systems"]["teacher"]["languages"]["xx"]["cosine"]["value"], abs=1e-5
        )


def test_the_reduction_lies_with_the_student_and_is_used_to_measure_it(workshop: Path, tmp_path: Path) -> None:
    assert (workshop / "copy" / "student" / REDUCTION / "model.safetensors").is_file()
    assert main(["eval", str(workshop / "copy"), f"run.dir={tmp_path / 'eval'}", "device=cpu"]) == 0
    measured = json.loads((tmp_path / "eval" / "report.json").read_text(encoding="utf-8"))
    own = json.loads((workshop / "copy" / "report.json").read_text(encoding="utf-8"))
    assert measured["systems"]["student"]["languages"]["yy"]["cosine"]["value"] == pytest.approx(
        own["systems"]["after"]["languages"]["yy"]["cosine"]["value"], abs=1e-5
    )


def test_a_narrow_student_needs_no_wider_layer(workshop: Path, tmp_path: Path) -> None:
    words = [
        *toy_command(workshop),
        "model=pretrained",
        f"model.student.name={workshop / 'narrow'}",
        "model.student.dropout=0.0",
        "model.teacher.width=16",
        f"run.dir={tmp_path / 'run'}",
        "trainer.progress=none",
    ]
    assert main(words) == 0
    assert load_encoder(tmp_path / "run" / "student", key="k").width == 16


def test_a_resumed_run_keeps_the_reduction_that_it_began_with(workshop: Path, tmp_path: Path) -> None:
    words = [*toy_command(workshop), "model.teacher.width=8", f"run.dir={tmp_path / 'run'}", "trainer.progress=none"]
    assert main([*words, "trainer.max_steps=3", "trainer.save_every=1"]) == 0
    first = read_reduction(tmp_path / "run" / "student")
    assert main(["train", "--resume", str(tmp_path / "run"), "trainer.max_steps=6"]) == 0
    last = read_reduction(tmp_path / "run" / "student")
    assert first is not None and last is not None
    assert torch.equal(first.linear.weight, last.linear.weight)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["model.teacher.width=33"], "model.teacher.width: 33 is more than the teacher's 32 dimensions"),
        (["loss=matryoshka", "loss.widths=[64]"], "loss.widths: 64 is more than the student's 32 dimensions"),
        (["model.teacher.width=20", "data.max_sources=10"], "10 sources are too few to find 20 dimensions in"),
    ],
)
def test_widths_that_do_not_fit(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: list[str], expected: str
) -> None:
    assert main([*toy_command(workshop), *settings, f"run.dir={tmp_path / 'run'}"]) == 2
    assert expected in capsys.readouterr().err


def test_a_student_of_several_widths_is_measured_at_each(workshop: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*toy_command(workshop), "loss=matryoshka", "loss.widths=[4,8]", f"run.dir={run}", "trainer.progress=none"]
    assert main(words) == 0
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    widths = report["metadata"]["widths"]
    assert list(widths) == ["4", "8", "32"]
    means = [report["systems"]["after"]["languages"][code]["retrieval"]["value"] for code in ("xx", "yy")]
    assert widths["32"]["retrieval"] == pytest.approx(sum(means) / 2, abs=1e-6)
    assert "## Widths" in (run / "report.md").read_text(encoding="utf-8")
    assert main(["eval", str(run), "width=8", f"run.dir={tmp_path / 'eval'}", "device=cpu"]) == 0
    measured = json.loads((tmp_path / "eval" / "report.json").read_text(encoding="utf-8"))
    means = [measured["systems"]["student"]["languages"][code]["retrieval"]["value"] for code in ("xx", "yy")]
    assert widths["8"]["retrieval"] == pytest.approx(sum(means) / 2, abs=0.03)


def test_more_width_than_there_is_cannot_be_measured(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(workshop / "copy"), "width=9", f"run.dir={tmp_path / 'eval'}", "device=cpu"]) == 2
    assert "width: 9 is more than the 8 dimensions" in capsys.readouterr().err


def test_the_first_dimensions_of_a_turned_teacher_are_the_best(workshop: Path) -> None:
    """What matryoshka relies on: with the same number of dimensions, the turned teacher keeps more of its cosines."""
    teacher = load_encoder(workshop / "teacher", key="k")
    plain_ND = encode(teacher, TEXTS, compute=CPU)
    turned_ND = reduced(plain_ND, 32)

    def error(vectors_ND: np.ndarray) -> float:
        cut_ND = vectors_ND[:, :6] / np.linalg.norm(vectors_ND[:, :6], axis=1, keepdims=True)
        return float(np.abs(cut_ND @ cut_ND.T - plain_ND @ plain_ND.T).mean())

    assert error(turned_ND) < error(plain_ND)
