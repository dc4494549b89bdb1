"""`mlembed predict` where something is wrong: a message with file and line, and no half-written output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from heads import ONE, WORDS_HEAD, write_classifier
from predicting import predict, rows_of, write_models
from toys import write_toy_model

from mlembed.data.tags import spans


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_models(tmp_path_factory.mktemp("predict"))


GOOD = b'{"text": "a"}\n' * 9
BAD_INPUTS: list[tuple[str, bytes | None, str]] = [
    ("absent.txt", None, "absent.txt: no such file"),
    ("empty.txt", b"", "empty.txt:1: there is nothing to predict"),
    ("empty.jsonl", b"", "empty.jsonl:1: the file is empty"),
    ("header.tsv", b"id\ttext\n", "header.tsv:1: there is nothing to predict"),
    ("latin.txt", b"good\n" * 9 + b"caf\xe9\n", "latin.txt:10: not UTF-8"),
    ("column.tsv", b"id\tsentence\n1\ta\n", "column.tsv:2: no column 'text'; the columns here are: id, sentence"),
    ("broken.jsonl", GOOD + b"{\n", "broken.jsonl:10: not JSON"),
    ("null.jsonl", GOOD + b'{"text": null}\n', "null.jsonl:10: the column 'text' holds None"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_INPUTS, ids=[case[0] for case in BAD_INPUTS])
def test_bad_input_is_named_and_leaves_nothing(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None,
    message: str,
) -> None:  # fmt: skip
    if content is not None:
        (tmp_path / name).write_bytes(content)
    (tmp_path / "out.jsonl").write_text("an older result")
    assert predict(models["one"], tmp_path / name, tmp_path / "out.jsonl") == 3
    assert message in capsys.readouterr().err
    assert (tmp_path / "out.jsonl").read_text() == "an older result"
    assert {path.name for path in tmp_path.iterdir()} <= {name, "out.jsonl"}


def test_bad_rows_are_left_out_where_asked(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text('{\n{"text": "a"}\n{"text": 3}\n{"text": "b"}\n')
    assert predict(models["one"], tmp_path / "in.jsonl", tmp_path / "out.jsonl", "--on-error", "skip") == 0
    assert [row["text"] for row in rows_of(tmp_path / "out.jsonl")] == ["a", "b"]
    said = capsys.readouterr().err
    assert "2 rows -> " in said and "2 x bad row skipped (the first: " in said and "in.jsonl:1: not JSON" in said
    (tmp_path / "in.jsonl").write_text('{"txt": "a"}\n')
    assert predict(models["one"], tmp_path / "in.jsonl", tmp_path / "none.jsonl", "--on-error", "skip") == 3
    assert "in.jsonl:1: no column 'text'" in capsys.readouterr().err and not (tmp_path / "none.jsonl").exists()
    (tmp_path / "in.jsonl").write_text('{"tokens": ["a", ""]}\n')
    assert predict(models["words"], tmp_path / "in.jsonl", tmp_path / "none.jsonl") == 3
    assert "in.jsonl:1: number 2 of the column 'tokens' is '', which is not a word" in capsys.readouterr().err


def test_a_wrong_command_is_refused(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.txt").write_text("a\n")
    toy, out = write_toy_model(tmp_path / "toy"), f"{tmp_path}/out.jsonl"
    cases: list[tuple[Path, str, list[str], str]] = [
        (models["one"], f"{tmp_path}/out.csv", [], "use one of .jsonl, .tsv, .jsonl.gz, .tsv.gz, or -"),
        (models["one"], f"{tmp_path}/nowhere/out.tsv", [], "there is no folder"),
        (models["one"], out, ["--top", "0"], "--top 0: give a number of labels from 1"),
        (models["one"], out, ["--threshold", "0.5"], "--threshold is for models that give a text any number"),
        (models["many"], out, ["--threshold", "2"], "--threshold 2.0: a probability is between 0 and 1"),
        (models["words"], out, ["--top", "1"], "--top is for models that give a text labels"),
        (models["one"], out, ["--column", "x"], "in.txt has lines, not columns"),
        (toy, out, [], "no head for single texts, it compares two"),
        (tmp_path / "nowhere", out, [], "model: there is no folder"),
    ]
    for model, output, more, message in cases:
        assert predict(model, tmp_path / "in.txt", output, *more) == 2
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "toy"]


def test_an_answer_that_is_not_finite_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import load_file, save_file

    for name, head in (("one", ONE), ("words", WORDS_HEAD)):
        (tmp_path / name).mkdir()
        folder = write_classifier(tmp_path / name, head)
        tensors = load_file(folder / "model.safetensors")
        tensors["bert.embeddings.word_embeddings.weight"][5] = float("nan")  # "the"
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (tmp_path / "in.txt").write_text("a dog\n" * 5 + "the dog\n")
        assert predict(folder, tmp_path / "in.txt", tmp_path / "out.jsonl") == 1
        assert "in.txt:6: the answer is not finite" in capsys.readouterr().err
        assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("seed", range(3))
def test_names_are_those_of_seqeval(seed: int) -> None:
    from seqeval.metrics.sequence_labeling import get_entities

    generator = np.random.default_rng(seed)
    for kinds in (["O", "B-A", "I-A", "B-B", "I-B"], ["O", "B-A", "I-A", "E-A", "S-A", "B-x-y", "E-x-y", "S-x-y"]):
        for _ in range(200):
            tags = generator.choice(kinds, size=generator.integers(0, 9)).tolist()
            assert spans(tags) == get_entities(tags), tags
    assert spans(["NOUN", "NOUN", "O", "NOUN", "LABEL_1"]) == [
        ("NOUN", 0, 1), ("NOUN", 3, 3), ("LABEL_1", 4, 4)
    ]  # fmt: skip
