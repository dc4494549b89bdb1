"""Numbers that are not finite, and too little memory, in tasks with labels: named, refused, or got along with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from crashes import records, run_with_fault
from label_toys import label_command, label_folder, with_parallel, with_unlabelled, write_lively_model
from labels import example
from safetensors.torch import load_file, save_file
from toys import toy_encoder

from mlembed.cli import main
from mlembed.data.examples import ExampleSet, LabelSet
from mlembed.errors import TrainingFailed
from mlembed.inputs import Inputs
from mlembed.tasks.answering import check_answers
from mlembed.tasks.classification import Classification
from mlembed.tasks.held_out_labels import LabelledSet
from mlembed.tokens import TokenTable

NAN = float("nan")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return label_folder(tmp_path_factory.mktemp("labels"))


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_first_weights_that_are_not_finite_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], role: str
) -> None:
    """Before a stage trains them: there they would look like bad rows."""
    spoiled = write_lively_model(tmp_path / "spoiled")
    tensors = load_file(spoiled / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][5] = NAN
    save_file(tensors, spoiled / "model.safetensors", metadata={"format": "pt"})
    more = [
        "model=pretrained",
        f"model.student.name={folder / 'small'}",
        "model.warm_start=none",
        with_parallel(folder),
    ]
    run = tmp_path / "run"
    # A teacher that a stage has to train, or a student that one has to: neither knows the labels.
    assert (
        main([*label_command(folder, run=run), *more, "task.fine_tuning.epochs=1", f"model.{role}.name={spoiled}"]) == 1
    )
    assert f"model.{role}: its weights are not finite, before any training" in capsys.readouterr().err
    assert (run / "teacher" / "student").exists() == (role == "student")


def table(lengths: list[int]) -> TokenTable:
    return TokenTable(np.zeros(sum(lengths), dtype=np.int32), np.cumsum([0, *lengths]), pad_id=0)


def test_an_answer_that_is_not_finite_names_its_row() -> None:
    rows = [example("red house", line=2), example("old tree", line=3)]
    logits_NL = np.array([[1.0, 2.0], [NAN, 2.0]], dtype=np.float32)
    check_answers(logits_NL[:1], inputs=Inputs(table([3])), examples=rows[:1])
    with pytest.raises(TrainingFailed, match=r"^toy\.tsv:3: the model's answer is not finite \(1 answers in all\)"):
        check_answers(logits_NL, inputs=Inputs(table([3, 3])), examples=rows)
    # Of three words of the first row the last was cut off, and was not read.
    words = Inputs(table([3, 3]), first_W=np.array([1, 2, -1, 1]), word_offsets=np.array([0, 3, 4]))
    logits_WL = np.array([[1.0], [1.0], [NAN], [1.0]])
    check_answers(logits_WL, inputs=words, examples=rows)
    logits_WL[3] = NAN
    with pytest.raises(TrainingFailed, match=r"^toy\.tsv:3: "):
        check_answers(logits_WL, inputs=words, examples=rows)


def test_a_language_that_a_student_has_no_numbers_for_is_not_left_out() -> None:
    examples = [example("red house", "a"), example("old tree", "b", language="xx", line=7)]
    options = {"several": False, "train": examples, "balanced_weights": False, "balanced_sampling": False}
    answering = Classification(LabelSet(("a", "b")), smoothing=0.0, **options)
    held_out = LabelledSet(ExampleSet("toys", examples), answering, "en", 0)
    student = toy_encoder()
    with pytest.raises(TrainingFailed, match=r"toy\.tsv:7: the model's answer is not finite"):
        held_out.probabilities(student, lambda inputs: np.array([[1.0, 0.0], [NAN, 0.0]], dtype=np.float32))
    found_NL = held_out.probabilities(student, lambda inputs: np.eye(2, dtype=np.float32))
    signs = held_out.signs(found_NL, languages=["en"])
    assert list(signs["languages"]) == ["en"] and signs["all"]["count"] == 1
    assert held_out.signs(found_NL, languages=["fr"]) == {}


@pytest.mark.slow
def test_a_run_with_labels_and_too_little_memory(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    more = [with_parallel(folder), with_unlabelled(folder), "trainer.epochs=2", "task.fine_tuning.epochs=2"]
    faults = "backward:3:MemoryError,backward:60:MemoryError,forward:2:MemoryError"
    assert run_with_fault(monkeypatch, faults, [*label_command(folder, run=run), *more]) == 0
    for where in (run / "teacher", run):
        found = [record for record in records(where) if "out_of_memory" in record]
        assert len(found) == 1 and found[0]["pieces"] == 2, where
    assert "each is read in 2 pieces from here on" in (run / "log.txt").read_text()
