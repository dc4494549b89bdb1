"""`mlembed predict`: each head, input and output, in order, as a stream; or a message with file and line."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from heads import MANY, ONE, SCORE, write_classifier
from predicting import predict, rows_of, write_lines, write_models
from test_classifier import change_config
from toys import toy_sentences

import mlembed.predict.verb
from mlembed.compute import Compute
from mlembed.inputs import pair_inputs, text_inputs
from mlembed.models.answer import answer
from mlembed.models.classifier_folder import load_any_classifier

CPU = Compute(torch.device("cpu"), "fp32")
TEXTS = [*toy_sentences(9), "", "the " * 40, "ünïcödé 猫, dog"]
SECONDS = TEXTS[::-1]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_models(tmp_path_factory.mktemp("predict"))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks also for the few rows of a test."""
    monkeypatch.setattr(mlembed.predict.verb, "CHUNK_ROWS", 4)


def probabilities(model: Path, *, pairs: bool = False) -> np.ndarray:
    classifier = load_any_classifier(model, key="k")
    given: dict[str, Any] = {"tokenizer": classifier.tokenizer, "max_length": classifier.max_length}
    inputs = pair_inputs(TEXTS, SECONDS, **given) if pairs else text_inputs(TEXTS, **given)
    logits = torch.from_numpy(answer(classifier, inputs, compute=CPU, batch_tokens=1)).double()
    return (logits.softmax(1) if classifier.head.problem == "one" else logits.sigmoid()).numpy()


def test_one_label(models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_lines(tmp_path / "in.jsonl", [{"id": at, "text": text} for at, text in enumerate(TEXTS)])
    assert predict(models["one"], source, tmp_path / "out.jsonl") == 0
    expected = probabilities(models["one"])
    rows = rows_of(tmp_path / "out.jsonl")
    assert [list(row) for row in rows] == [["prediction", "probabilities", "id", "text"]] * len(TEXTS)
    assert [(row["id"], row["text"]) for row in rows] == list(enumerate(TEXTS))
    for row, expected_L in zip(rows, expected, strict=True):
        assert row["prediction"] == ONE.labels[expected_L.argmax()] == next(iter(row["probabilities"]))
        assert list(row["probabilities"].values()) == sorted(row["probabilities"].values(), reverse=True)
        found = [row["probabilities"][name] for name in ONE.labels]
        np.testing.assert_allclose(found, expected_L, atol=2e-6)
    assert len({row["prediction"] for row in rows}) > 1
    said = capsys.readouterr()
    assert said.out == "" and f"12 rows -> {tmp_path}/out.jsonl\n" in said.err
    assert "1 of 12 texts are longer than 24 tokens and were cut\n" in said.err
    assert predict(models["one"], source, tmp_path / "top.jsonl", "--top", "1") == 0
    assert [list(row["probabilities"]) for row in rows_of(tmp_path / "top.jsonl")] == [
        [row["prediction"]] for row in rows
    ]


def test_several_labels(models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    expected = probabilities(models["many"])
    for threshold in (0.5, 0.9):
        more = [] if threshold == 0.5 else ["--threshold", "0.9"]
        assert predict(models["many"], tmp_path / "in.txt", tmp_path / "out.jsonl", *more) == 0
        for row, expected_L in zip(rows_of(tmp_path / "out.jsonl"), expected, strict=True):
            given = {name for name, value in zip(MANY.labels, expected_L, strict=True) if value >= threshold}
            assert set(row["prediction"]) == given and len(row["probabilities"]) == 4
            assert row["prediction"] == list(row["probabilities"])[: len(given)]
    assert predict(models["many"], tmp_path / "in.txt", tmp_path / "out.tsv") == 0
    with (tmp_path / "out.tsv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for cells, expected_L in zip(table, expected, strict=True):
        labels = cells["prediction"].split("|") if cells["prediction"] else []
        values = [float(value) for value in cells["probability"].split("|") if value]
        np.testing.assert_allclose(values, [expected_L[MANY.labels.index(name)] for name in labels], atol=2e-6)


@pytest.mark.parametrize("columns", [("text", "text_b"), ("sentence1", "sentence2"), ("links", "rechts")])
def test_pairs_and_scores(models: dict[str, Path], tmp_path: Path, columns: tuple[str, str]) -> None:
    rows = [dict(zip(columns, pair, strict=True)) for pair in zip(TEXTS, SECONDS, strict=True)]
    source = write_lines(tmp_path / "in.jsonl", rows)
    more = ["--column", "links", "--column-b", "rechts"] if columns[0] == "links" else []
    assert predict(models["score"], source, tmp_path / "out.jsonl", *more) == 0
    found = rows_of(tmp_path / "out.jsonl")
    assert [list(row) for row in found] == [["prediction", *columns]] * len(TEXTS)
    expected = probabilities(models["score"], pairs=True)[:, 0]
    np.testing.assert_allclose([row["prediction"] for row in found], expected, atol=2e-6)
    assert predict(models["score"], source, tmp_path / "out.tsv", *more) == 0
    assert (tmp_path / "out.tsv").read_text(encoding="utf-8").startswith("\t".join(["prediction", *columns]) + "\n")


def test_a_second_text_is_left_aside_where_asked(models: dict[str, Path], tmp_path: Path) -> None:
    rows = [{"text": text, "text_b": other} for text, other in zip(TEXTS, SECONDS, strict=True)]
    source = write_lines(tmp_path / "in.jsonl", rows)
    assert predict(models["score"], source, tmp_path / "out.jsonl", "--column-b", "") == 0
    found = [row["prediction"] for row in rows_of(tmp_path / "out.jsonl")]
    np.testing.assert_allclose(found, probabilities(models["score"])[:, 0], atol=2e-6)


def test_a_regression_of_somebody_else_is_its_number(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_classifier(tmp_path, SCORE)
    (tmp_path / "in.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    assert predict(folder, tmp_path / "in.txt", tmp_path / "score.jsonl") == 0
    assert "says regression" not in capsys.readouterr().err
    change_config(folder, problem_type="regression")
    assert predict(folder, tmp_path / "in.txt", tmp_path / "number.jsonl") == 0
    assert "config.json says regression" in capsys.readouterr().err
    numbers = np.array([row["prediction"] for row in rows_of(tmp_path / "number.jsonl")])
    scores = [row["prediction"] for row in rows_of(tmp_path / "score.jsonl")]
    np.testing.assert_allclose(1 / (1 + np.exp(-numbers)), scores, atol=2e-6)


def test_names_in_texts_and_in_words(models: dict[str, Path], tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", [{"text": f" {text}", "type": 1} for text in TEXTS])
    assert predict(models["words"], source, tmp_path / "out.jsonl") == 0
    rows = rows_of(tmp_path / "out.jsonl")
    assert sum(len(row["prediction"]) for row in rows) > 10
    for row in rows:
        assert list(row) == ["prediction", "text", "type"]
        for one in row["prediction"]:
            assert list(one) == ["type", "start", "end", "text", "score"]
            assert row["text"][one["start"] : one["end"]] == one["text"] == one["text"].strip() != ""
            assert one["type"] in ("LOC", "PER") and 0.2 < one["score"] <= 1
    assert rows[9]["prediction"] == [], "there is no word in an empty text"
    assert rows[10]["prediction"][-1]["end"] <= 1 + 4 * 22, "what is cut off is no name"
    tokens = write_lines(tmp_path / "tokens.jsonl", [{"tokens": text.split()} for text in TEXTS[:11]])
    assert predict(models["words"], tokens, tmp_path / "words.jsonl") == 0
    for row, other in zip(rows_of(tmp_path / "words.jsonl"), rows, strict=False):
        joined = " ".join(row["tokens"])
        for one, same in zip(row["prediction"], other["prediction"], strict=True):
            assert joined[one["start"] : one["end"]] == " ".join(row["tokens"][one["first"] : one["last"] + 1])
            assert (one["type"], one["start"] + 1, one["text"]) == (same["type"], same["start"], same["text"])
            assert one["score"] == pytest.approx(same["score"], abs=2e-6)


def test_names_in_a_table(models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "in.tsv").write_text("tokens\n" + "".join(f"{text}\n" for text in TEXTS[:9]), encoding="utf-8")
    assert predict(models["words"], tmp_path / "in.tsv", tmp_path / "out.tsv") == 0
    assert predict(models["words"], tmp_path / "in.tsv", tmp_path / "out.jsonl") == 0
    lines = (tmp_path / "out.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "prediction\tprobability\ttokens"
    for line, row in zip(lines[1:], rows_of(tmp_path / "out.jsonl"), strict=True):
        entities = row["prediction"]
        assert line.split("\t") == [
            " ".join(f"{one['type']}:{one['start']}-{one['end']}" for one in entities),
            " ".join(str(one["score"]) for one in entities),
            row["tokens"],
        ]


def test_a_column_of_the_input_keeps_its_value_under_another_name(models: dict[str, Path], tmp_path: Path) -> None:
    row = {
        "prediction": 1,
        "text": "a\tb",
        "probabilities": None,
        "input_prediction": [2, float("nan")],
        "probability": 3,
    }
    source = write_lines(tmp_path / "in.jsonl", [row])
    assert predict(models["one"], source, tmp_path / "out.jsonl.gz") == 0
    found = json.loads(gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()))
    assert list(found)[2:] == [
        "input_input_prediction",
        "text",
        "input_probabilities",
        "input_prediction",
        "probability",
    ]
    assert found["input_input_prediction"] == 1 and found["input_prediction"] == [2, None]
    assert predict(models["one"], source, tmp_path / "out.tsv.gz") == 0
    header, cells = gzip.decompress((tmp_path / "out.tsv.gz").read_bytes()).decode().splitlines()
    names = ["input_input_prediction", "text", "probabilities", "input_prediction", "input_probability"]
    assert header.split("\t") == ["prediction", "probability", *names]
    assert cells.split("\t")[2:] == ["1", "a b", "", "[2, null]", "3"]


def test_rows_that_are_not_alike(models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_lines(tmp_path / "in.jsonl", [{"text": "a", "x": 1}, {"text": "b"}, {"text": "c", "y": 2}])
    assert predict(models["one"], source, tmp_path / "out.tsv") == 3
    assert "in.jsonl:3: the first row has no column 'y'" in capsys.readouterr().err
    assert predict(models["one"], source, tmp_path / "out.jsonl") == 0
    write_lines(source, [{"text": "a"}, {"text": "a", "text_b": "b"}])
    assert predict(models["one"], source, tmp_path / "out.jsonl") == 3
    assert "in.jsonl:2: there is a column 'text_b', but the first row has none" in capsys.readouterr().err


@pytest.fixture
def as_stdin() -> Iterator[Callable[[bytes], None]]:
    """Put bytes where this process reads its standard input."""
    before = os.dup(0)

    def put(content: bytes) -> None:
        reading, writing = os.pipe()
        os.write(writing, content)
        os.close(writing)
        os.dup2(reading, 0)
        os.close(reading)

    yield put
    os.dup2(before, 0)
    os.close(before)


def test_standard_input_and_output(
    models: dict[str, Path], as_stdin: Callable[[bytes], None], capsys: pytest.CaptureFixture[str]
) -> None:
    as_stdin("".join(f"{text}\n" for text in TEXTS).encode())
    assert predict(models["one"], "-", "-") == 0
    said = capsys.readouterr()
    assert [json.loads(line)["text"] for line in said.out.splitlines()] == TEXTS and "12 rows -> stdout" in said.err
    as_stdin("".join(json.dumps({"a": text, "b": text}) + "\n" for text in TEXTS).encode())
    assert predict(models["score"], "-", "-", "--column", "a", "--column-b", "b") == 0
    assert [json.loads(line)["b"] for line in capsys.readouterr().out.splitlines()] == TEXTS


def test_parquet_with_values_that_json_has_not(models: dict[str, Path], tmp_path: Path) -> None:
    import datetime

    day = datetime.date(2024, 5, 6)
    pq.write_table(pa.table({"day": [day] * 5, "text": TEXTS[:5]}), tmp_path / "in.parquet")
    assert predict(models["one"], tmp_path / "in.parquet", tmp_path / "out.jsonl") == 0
    assert [(row["day"], row["text"]) for row in rows_of(tmp_path / "out.jsonl")] == [
        ("2024-05-06", t) for t in TEXTS[:5]
    ]
