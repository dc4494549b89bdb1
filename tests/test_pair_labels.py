"""A model that reads two texts apart and says which label they have together: trained, read again, used elsewhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from label_toys import (
    label_command,
    label_folder,
    trained,
    with_parallel,
    with_unlabelled,
    write_pairs,
)
from predicting import predict, rows_of, write_lines
from safetensors.torch import load_file, save_file
from test_label_eval import after, assert_close, evaluated

from mlembed.cli import main
from mlembed.errors import ConfigError
from mlembed.export.model_folder import export_model, load_weights
from mlembed.models.bi_encoder import BiEncoder
from mlembed.models.bi_encoder_folder import PAIR_HEAD, load_bi_encoder
from mlembed.models.classifier import Head
from mlembed.models.encoder import load_encoder

LABELS = ("no", "yes")
LABELLED = [
    "task.architecture=bi_encoder",
    "task.answer=label",
    "trainer.metric=macro_f1",
    "task.fine_tuning.epochs=24",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(label_folder(tmp_path_factory.mktemp("pairs")), scores=False, matching=True)


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose labels cross over through parallel text alone."""
    run = tmp_path_factory.mktemp("runs") / "run"
    trained(label_command(folder, run=run, task="pair"), with_parallel(folder), *LABELLED)
    return run


def accuracy(run: Path, system: str, language: str) -> float:
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    found: float = report["systems"][system]["languages"][language]["accuracy"]["value"]
    return found


def untrained(folder: Path, to: Path) -> Path:
    """A folder with a new head."""
    model = BiEncoder.of(load_encoder(folder / "teacher", key="k"), Head("vectors", LABELS), seed=3)
    to.mkdir()
    export_model(model, to, card="")
    return to


def test_labels_cross_over(run: Path) -> None:
    systems = json.loads((run / "report.json").read_text(encoding="utf-8"))["systems"]
    assert list(systems) == ["majority", "tfidf", "teacher", "before", "after"]
    assert accuracy(run, "teacher", "en") > 0.9 and accuracy(run, "teacher", "xx") < 0.7
    assert accuracy(run, "after", "xx") > 0.8


def test_eval_reads_the_head_again(run: Path, tmp_path: Path) -> None:
    report = evaluated(run, tmp_path / "eval")
    assert_close(report["systems"]["student"]["languages"], after(run))


def test_predict_gives_labels_with_probabilities(run: Path, folder: Path, tmp_path: Path) -> None:
    lines = (folder / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    given = [dict(zip(("text", "text_b", "label", "lang"), line.split("\t"), strict=True)) for line in lines]
    source = write_lines(tmp_path / "in.jsonl", given)
    assert predict(run, source, tmp_path / "out.jsonl") == 0
    rows = rows_of(tmp_path / "out.jsonl")
    right = [row["prediction"] == row["label"] for row in rows if row["lang"] == "xx"]
    assert np.mean(right) == pytest.approx(accuracy(run, "after", "xx"))
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["prediction"] == max(row["probabilities"], key=row["probabilities"].__getitem__)


def test_the_card_shows_how_labels_are_told_without_mlembed(run: Path, tmp_path: Path) -> None:
    card = (run / "student" / "README.md").read_text(encoding="utf-8")
    code = card.split("```python\n")[1].split("```")[0].replace("path/of/this/folder", str(run / "student"))
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    pair = {"text": "A cat sits on the mat.", "text_b": "Die Katze sitzt auf der Matte."}
    assert pair["text"] in code and pair["text_b"] in code
    assert predict(run, write_lines(tmp_path / "in.jsonl", [pair]), tmp_path / "out.jsonl") == 0
    assert said.split()[-1] == rows_of(tmp_path / "out.jsonl")[0]["prediction"]


def test_an_export_keeps_the_head_beside_the_weights(run: Path, tmp_path: Path) -> None:
    assert main(["export", str(run), "--to", "sentence-transformers", "--output", str(tmp_path / "st")]) == 0
    exported, own = (load_bi_encoder(one, key="k") for one in (tmp_path / "st", run / "student"))
    assert exported.head == own.head
    for name, tensor in own.pair_head.state_dict().items():
        assert torch.equal(exported.pair_head.state_dict()[name], tensor)


def test_a_run_starts_from_a_model_that_knows_the_labels(run: Path, folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    command = label_command(folder, run=again, task="pair")
    more = ["model=pretrained", f"model.student.name={run / 'student'}", f"model.teacher.name={run / 'student'}"]
    trained(command, with_unlabelled(folder), *LABELLED, *more, "trainer.epochs=1")
    assert not (again / "teacher").exists(), "there is nothing to learn before"
    assert accuracy(again, "before", "xx") == accuracy(run, "after", "xx")


@pytest.mark.slow
def test_unlabelled_pairs_teach_too(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained(label_command(folder, run=run, task="pair"), with_unlabelled(folder), *LABELLED, "trainer.epochs=1")
    assert accuracy(run, "after", "en") > 0.9


def test_the_order_of_labels_is_that_of_the_data(folder: Path, tmp_path: Path) -> None:
    stored = untrained(folder, tmp_path / "model")
    one = load_bi_encoder(stored, key="k", head=Head("vectors", LABELS))
    other = load_bi_encoder(stored, key="k", head=Head("vectors", LABELS[::-1]))
    assert torch.equal(one.pair_head.linear.weight, other.pair_head.linear.weight.flip(0))
    assert torch.equal(one.pair_head.linear.bias, other.pair_head.linear.bias.flip(0))


def test_logits_are_those_of_both_vectors_and_their_difference(folder: Path, tmp_path: Path) -> None:
    model = load_bi_encoder(untrained(folder, tmp_path / "model"), key="k").eval()
    ids_BT = torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]])
    mask_BT = (ids_BT > 0).long()
    with torch.no_grad():
        first, second = model.reader().eval()(ids_BT, mask_BT)
        read = torch.cat([first, second, (first - second).abs()]) * len(first) ** 0.5
        expected = model.pair_head.linear.weight @ read + model.pair_head.linear.bias
        assert torch.allclose(model(ids_BT, mask_BT)[0], expected, atol=1e-5)


def test_weights_are_put_back(folder: Path, tmp_path: Path) -> None:
    stored = untrained(folder, tmp_path / "model")
    model = BiEncoder.of(load_encoder(folder / "teacher", key="k"), Head("vectors", LABELS), seed=4)
    load_weights(model, stored)
    assert torch.equal(
        model.pair_head.linear.weight, load_file(stored / PAIR_HEAD / "model.safetensors")["linear.weight"]
    )


def test_a_seed_makes_a_head(folder: Path) -> None:
    encoder = load_encoder(folder / "teacher", key="k")
    one, same, other = (BiEncoder.of(encoder, Head("vectors", LABELS), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.pair_head.linear.weight, same.pair_head.linear.weight)
    assert not torch.equal(one.pair_head.linear.weight, other.pair_head.linear.weight)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "cannot be read"),
        ('{"labels": "no"}', "'labels' is not a list of names"),
        ('{"labels": ["no"]}', "two labels or more, each once"),
        ('{"labels": ["no", "no"]}', "two labels or more, each once"),
        ('{"labels": ["no", "yes", "maybe"]}', "cannot be loaded"),
        ("[1]", "'labels' is not a list of names"),
    ],
)
def test_a_broken_head_is_said_to_be_one(folder: Path, tmp_path: Path, config: str, said: str) -> None:
    stored = untrained(folder, tmp_path / "model")
    (stored / PAIR_HEAD / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load_bi_encoder(stored, key="model")


@pytest.mark.parametrize("tensors", [None, {"linear.weight": torch.zeros(2, 3)}])
def test_broken_weights_of_a_head(folder: Path, tmp_path: Path, tensors: dict[str, Any] | None) -> None:
    stored = untrained(folder, tmp_path / "model")
    path = stored / PAIR_HEAD / "model.safetensors"
    path.write_bytes(b"no tensors") if tensors is None else save_file(tensors, path)
    with pytest.raises(ConfigError, match=r"pair_head/model\.safetensors cannot be loaded"):
        load_bi_encoder(stored, key="model")


def test_other_labels_are_refused(folder: Path, tmp_path: Path) -> None:
    stored = untrained(folder, tmp_path / "model")
    with pytest.raises(ConfigError, match=r"answers with 2 labels \(no, yes\), but the data have 2 labels \(a, b\)"):
        load_bi_encoder(stored, key="model", head=Head("vectors", ("a", "b")))


def test_an_encoder_without_a_head_predicts_cosines(folder: Path, tmp_path: Path) -> None:
    teacher = shutil.copytree(folder / "teacher", tmp_path / "teacher")
    pairs = [{"text": "a cat", "text_b": "a cat"}, {"text": "a cat", "text_b": "the dog runs"}]
    assert predict(teacher, write_lines(tmp_path / "in.jsonl", pairs), tmp_path / "out.jsonl") == 0
    same, other = (row["prediction"] for row in rows_of(tmp_path / "out.jsonl"))
    assert same == pytest.approx(1, abs=1e-5) and other < same


def test_single_texts_are_not_compared(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_lines(tmp_path / "in.jsonl", [{"text": "a cat"}])
    assert predict(folder / "teacher", source, tmp_path / "out.jsonl") == 2
    said = capsys.readouterr().err
    assert "no head for single texts" in said and "text_b" in said and "mlembed embed" in said


def test_parallel_text_needs_the_vectors(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = label_command(folder, run=tmp_path / "run", task="pair")
    assert main([*command, with_parallel(folder), *LABELLED, "loss.representation=0"]) == 2
    assert "loss.representation: 0 leaves nothing to learn" in capsys.readouterr().err
