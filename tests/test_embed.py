"""`mlembed embed`: every input and output, in order, as a stream; or a message with file and line, and nothing left."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from toys import toy_sentences, write_toy_model

import mlembed.embed
from mlembed.cli import main
from mlembed.compute import Compute
from mlembed.models.encode import encode
from mlembed.models.encoder import load_encoder

TEXTS = [*toy_sentences(21), 'the cat, "quoted"', "", "  spaces  kept ", "ünïcödé 猫", "the red dog"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("embed") / "model")


@pytest.fixture(scope="module")
def expected(model: Path) -> np.ndarray:
    encoder = load_encoder(model, key="k")
    return np.concatenate([encode(encoder, [text], compute=Compute(torch.device("cpu"), "fp32")) for text in TEXTS])


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks also for the few texts of a test."""
    monkeypatch.setattr(mlembed.embed, "CHUNK_TEXTS", 4)


def embed(model: Path, source: str | Path, output: Path, *more: str) -> int:
    return main(["embed", str(model), "--input", str(source), "--output", str(output), "--device", "cpu", *more])


def lines() -> bytes:
    return "".join(f"{text}\n" for text in TEXTS).encode()


def table(delimiter: str) -> bytes:
    rows = [["id", "text"], *([str(at), text] for at, text in enumerate(TEXTS))]
    if delimiter == "\t":
        return "".join("\t".join(row) + "\n" for row in rows).encode()
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\r\n").writerows(rows)
    return stream.getvalue().encode()


def objects() -> bytes:
    return "".join(json.dumps({"text": text, "id": at}) + "\n" for at, text in enumerate(TEXTS)).encode()


def parquet() -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({"id": range(len(TEXTS)), "text": TEXTS}), stream)
    return stream.getvalue()


INPUTS: dict[str, Callable[[], bytes]] = {
    "texts.txt": lines,
    "texts": lines,
    "texts.de": lambda: b"\xef\xbb\xbf" + lines().replace(b"\n", b"\r\n"),
    "no_end.txt": lambda: lines().removesuffix(b"\n"),
    "texts.txt.gz": lambda: gzip.compress(lines()),
    "texts.tsv": lambda: table("\t"),
    "texts.csv": lambda: table(","),
    "texts.CSV.gz": lambda: gzip.compress(table(",")),
    "texts.jsonl": objects,
    "texts.ndjson.gz": lambda: gzip.compress(objects()),
    "texts.parquet": parquet,
}


@pytest.mark.parametrize("name", INPUTS)
def test_every_input(model: Path, tmp_path: Path, expected: np.ndarray, name: str) -> None:
    (tmp_path / name).write_bytes(INPUTS[name]())
    assert embed(model, tmp_path / name, tmp_path / "out.npy") == 0
    found = np.load(tmp_path / "out.npy", mmap_mode="r")
    assert found.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "out.npy"])


@pytest.mark.parametrize("ending", [".npy", ".parquet", ".jsonl"])
def test_every_output(
    model: Path, tmp_path: Path, expected: np.ndarray, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.txt").write_bytes(lines())
    output = tmp_path / f"out{ending}"
    output.write_text("what was there before")
    assert embed(model, tmp_path / "in.txt", output) == 0
    if ending == ".npy":
        vectors, texts = np.load(output), TEXTS
    elif ending == ".parquet":
        content = pq.read_table(output)
        assert content.schema.names == ["text", "vector"] and content.schema.field("vector").type.list_size == 32
        vectors, texts = np.array(content["vector"].to_pylist()), content["text"].to_pylist()
    else:
        rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
        vectors, texts = np.array([row["vector"] for row in rows]), [row["text"] for row in rows]
    assert texts == TEXTS
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    said = capsys.readouterr()
    assert said.out == "" and f"{len(TEXTS)} texts -> {output} (32 dimensions)" in said.err and "\r" not in said.err


def test_a_column_by_name(model: Path, tmp_path: Path, expected: np.ndarray) -> None:
    path = tmp_path / "in.tsv"
    path.write_bytes(b"text\tother\n" + b"".join(f"wrong\t{text}\n".encode() for text in TEXTS[:3]))
    assert embed(model, path, tmp_path / "out.npy", "--column", "other") == 0
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected[:3], atol=1e-6)


def test_blank_lines_of_a_table_are_said(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.tsv").write_text("id\ttext\n1\tthe\n\n2\ta\n")
    assert embed(model, tmp_path / "in.tsv", tmp_path / "out.npy") == 0
    assert "2 texts -> " in (said := capsys.readouterr().err) and "1 x blank line skipped" in said


@pytest.fixture
def as_stdin(tmp_path: Path) -> Iterator[Callable[[bytes], None]]:
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


def test_standard_input(
    model: Path, tmp_path: Path, expected: np.ndarray, as_stdin: Callable[[bytes], None],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    as_stdin(lines())
    assert embed(model, "-", tmp_path / "lines.npy") == 0
    np.testing.assert_allclose(np.load(tmp_path / "lines.npy"), expected, atol=1e-6)
    as_stdin(objects())
    assert embed(model, "-", tmp_path / "objects.npy", "--column", "text") == 0
    np.testing.assert_allclose(np.load(tmp_path / "objects.npy"), expected, atol=1e-6)
    as_stdin(b"good\n\xff\n")
    assert embed(model, "-", tmp_path / "bad.npy") == 3
    assert "/dev/stdin:2: not UTF-8" in capsys.readouterr().err


def part_of(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(".part")]


def test_it_streams(model: Path, tmp_path: Path, expected: np.ndarray) -> None:
    """The first vectors are written while the last texts are not there yet."""
    os.mkfifo(tmp_path / "pipe")
    written = 0

    def feed() -> None:
        nonlocal written
        with (tmp_path / "pipe").open("w", encoding="utf-8", buffering=1) as pipe:
            pipe.writelines(f"{text}\n" for text in TEXTS * 4)
            for _ in range(600):
                written = sum(path.stat().st_size for path in part_of(tmp_path))
                if written > 10_000:
                    break
                time.sleep(0.05)
            pipe.writelines(f"{text}\n" for text in TEXTS)

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert embed(model, tmp_path / "pipe", tmp_path / "out.jsonl") == 0
    feeder.join()
    assert written > 10_000
    rows = [json.loads(line)["vector"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    np.testing.assert_allclose(np.array(rows), np.tile(expected, (5, 1)), atol=1e-6)


def test_a_signal_ends_it_while_it_waits(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")

    def feed() -> None:
        with (tmp_path / "pipe").open("w") as pipe:
            pipe.write("the\n" * 4 * 3000)
            pipe.flush()
            for _ in range(600):
                if part_of(tmp_path):
                    break
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.5)

    feeder = threading.Thread(target=feed)
    before = signal.getsignal(signal.SIGTERM)
    feeder.start()
    assert embed(model, tmp_path / "pipe", tmp_path / "out.npy") == 143
    feeder.join()
    assert "ended by SIGTERM" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    assert signal.getsignal(signal.SIGTERM) is before


GOOD = b'{"text": "a"}\n' * 9
BAD_INPUTS: list[tuple[str, bytes | None, str]] = [
    ("absent.txt", None, "absent.txt: no such file"),
    ("empty.txt", b"", "empty.txt:1: there is no text to embed"),
    ("empty.tsv", b"", "empty.tsv:1: the file is empty"),
    ("header.tsv", b"id\ttext\n", "header.tsv:1: there is no text to embed"),
    ("latin.txt", b"good\n" * 9 + b"caf\xe9\n", "latin.txt:10: not UTF-8"),
    ("column.tsv", b"id\tsentence\n1\ta\n", "column.tsv:2: no column 'text'; the columns here are: id, sentence"),
    ("cells.tsv", b"id\ttext\n" + b"1\ta\n" * 9 + b"1\n", "cells.tsv:11: 2 columns expected"),
    ("broken.jsonl", GOOD + b"{\n", "broken.jsonl:10: not JSON"),
    ("null.jsonl", GOOD + b'{"text": null}\n', "null.jsonl:10: the column 'text' holds None"),
    ("number.jsonl", GOOD + b'{"text": 7}\n', "number.jsonl:10: the column 'text' holds 7 (int)"),
    ("quote.csv", b'text\n"a\n', "quote.csv:2: not CSV"),
    ("cut.txt.gz", gzip.compress(os.urandom(99).hex().encode() + b"\n")[:-30], "cut.txt.gz:1: the gzip data ends"),
    ("plain.txt.gz", b"no gzip\n", "plain.txt.gz:1: not a gzip file"),
    ("fake.parquet", b"no parquet", "fake.parquet:1: cannot be read as Parquet"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), BAD_INPUTS, ids=[case[0] for case in BAD_INPUTS])
def test_bad_input_is_named_and_leaves_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    (tmp_path / "out.npy").write_text("an older result")
    assert embed(model, tmp_path / name, tmp_path / "out.npy") == 3
    assert message in capsys.readouterr().err
    assert (tmp_path / "out.npy").read_text() == "an older result"
    assert {path.name for path in tmp_path.iterdir()} <= {name, "out.npy"}


def test_a_wrong_command_is_refused_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.txt").write_text("a\n")
    (tmp_path / "folder.npy").mkdir()
    cases = [
        (["--output", f"{tmp_path}/out.csv"], 2, "use one of .npy, .parquet, .jsonl"),
        (["--output", f"{tmp_path}/nowhere/out.npy"], 2, "there is no folder"),
        (["--output", f"{tmp_path}/folder.npy"], 2, "this is a folder"),
        (["--output", f"{tmp_path}/out.npy", "--column", "x"], 2, "in.txt has lines, not columns"),
        (["--output", f"{tmp_path}/out.npy"], 2, "model: there is no folder"),
    ]
    for words, code, message in cases:
        assert main(["embed", "/nowhere/model", "--input", f"{tmp_path}/in.txt", *words]) == code
        assert message in capsys.readouterr().err
    assert main(["embed", "/nowhere/model", "--input", str(tmp_path), "--output", f"{tmp_path}/out.npy"]) == 3
    assert "this is a folder; give a file" in capsys.readouterr().err


def test_an_output_that_cannot_be_written(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_text("a\n")
    assert embed(model, tmp_path / "in.txt", tmp_path / f"{'n' * 250}.npy") == 4
    assert "cannot be written: File name too long" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]


def test_vectors_that_are_not_finite_are_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import load_file, save_file

    folder = write_toy_model(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][5] = float("nan")  # "the"
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "in.txt").write_text("a dog\n" * 5 + "the dog\n")
    assert embed(folder, tmp_path / "in.txt", tmp_path / "out.npy") == 1
    assert "the vector of text 6 is not finite" in capsys.readouterr().err
    assert not (tmp_path / "out.npy").exists()
