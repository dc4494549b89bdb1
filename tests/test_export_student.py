"""`mlembed export`: a folder for other tools, whole or pruned; or a message, and nothing left."""

from __future__ import annotations

import os
import re
import resource
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from families import SUBWORDS, subword_tokenizer, write_family
from safetensors.torch import load_file, save_file
from test_startup import HEAVY, imported
from toys import toy_command, toy_sentences, translate, write_toy_data, write_toy_model

import mlembed.export_verb.pruning
from mlembed.cli import main
from mlembed.compute import Compute
from mlembed.door.completion import PLAIN
from mlembed.models.encode import encode
from mlembed.models.encoder import load_encoder

CPU = Compute(torch.device("cpu"), "fp32")
TEXTS = [*toy_sentences(12), "", "the ☃ cat"]
UNSEEN = [translate("the red dog", "yy"), "猫"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("export") / "model")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of a second, whose test set has similar sentences with words that nothing else has."""
    folder = tmp_path_factory.mktemp("trained")
    write_toy_model(folder / "teacher")
    write_toy_data(folder / "data.tsv", count=50)
    scores = "".join(f"yycat yydog\tyybird yy{word}\t{score}\ten\n" for score, word in enumerate(["tree", "a", "old"]))
    (folder / "sts.tsv").write_text(f"sentence1\tsentence2\tscore\tlang\n{scores}", encoding="utf-8")
    more = [
        "data.languages=[xx]",
        f"data.test={folder / 'sts.tsv'}",
        "trainer.max_steps=2",
        f"run.dir={folder / 'run'}",
    ]
    assert main([*toy_command(folder), *more, "trainer.progress=none"]) == 0
    return folder


def export(target: str | Path, output: Path, *more: str | Path) -> int:
    return main(["export", str(target), "--output", str(output), *map(str, more)])


def vectors(folder: Path, texts: list[str]) -> np.ndarray:
    return encode(load_encoder(folder, key="k"), texts, compute=CPU)


def words_of(folder: Path) -> set[str]:
    return set(load_encoder(folder, key="k").tokenizer.get_vocab())


def test_a_model_as_it_is(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        assert export(model, tmp_path / name) == 0
        np.testing.assert_array_equal(vectors(tmp_path / name, TEXTS), vectors(model, TEXTS))
        assert (tmp_path / name / "README.md").read_text().startswith("a toy\n\n# This export\n")
        assert (tmp_path / name).stat().st_mode & 0o055 == 0o055
    said = capsys.readouterr()
    assert said.out == "" and f"65 tokens, 0.1 MB -> {tmp_path / 'empty'}" in said.err
    assert {path.name for path in tmp_path.iterdir()} == {"new", "empty"}


def test_a_model_without_a_card_gets_one(tmp_path: Path) -> None:
    write_family(tmp_path / "model", "bert")
    assert export(tmp_path / "model", tmp_path / "out") == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert (
        card.startswith("---\nlibrary_name: sentence-transformers\n")
        and "# A sentence encoder" in card
        and "SentenceTransformer(" in card
    )


@pytest.mark.parametrize("kind", SUBWORDS)
def test_pruned_to_the_tokens_of_texts(
    tmp_path: Path, texts: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_family(tmp_path / "model", SUBWORDS[kind], tokenizer=subword_tokenizer(kind))
    assert export(model, tmp_path / "small", "--prune-vocabulary", "--texts", texts, texts) == 0
    before, after = (len(words_of(folder)) for folder in (model, tmp_path / "small"))
    assert after < before
    said = capsys.readouterr().err
    assert (
        "28 texts with " in said and "on 28 of them (100%) the vectors of old and new model differ by at most 0" in said
    )
    assert f"{before} -> {after} tokens, " in said and f" MB -> {tmp_path / 'small'}\n" in said
    np.testing.assert_array_equal(vectors(tmp_path / "small", TEXTS), vectors(model, TEXTS))
    assert np.isfinite(vectors(tmp_path / "small", UNSEEN)).all()
    assert f"from {before} to {after} tokens" in (tmp_path / "small" / "README.md").read_text()
    assert export(model, tmp_path / "larger", "--prune-vocabulary", "--texts", texts, "--keep-tokens", "9") == 0
    assert len(words_of(tmp_path / "larger")) == after + 9


def test_transformers_gives_the_same_vectors(tmp_path: Path, texts: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    model = write_family(tmp_path / "model", "roberta", tokenizer=subword_tokenizer("BPE"))
    assert export(model, tmp_path / "small", "--prune-vocabulary", "--texts", texts) == 0
    found = []
    for folder in (model, tmp_path / "small"):
        inputs = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            found.append(AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state)
    assert torch.equal(*found)


@pytest.mark.slow
def test_sentence_transformers_gives_the_same_vectors(tmp_path: Path, texts: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = write_family(tmp_path / "model", "xlm-roberta", tokenizer=subword_tokenizer("Unigram"))
    assert export(model, tmp_path / "small", "--prune-vocabulary", "--texts", texts) == 0
    found = SentenceTransformer(str(tmp_path / "small"), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(found, vectors(model, TEXTS), atol=1e-6)


def test_texts_that_the_model_cuts_keep_the_tokens_of_their_last_word(tmp_path: Path) -> None:
    """A word unknown for its end alone would lose its beginning, which the model sees."""
    model = write_family(tmp_path / "model", "bert", tokenizer=subword_tokenizer("WordPiece"))
    (tmp_path / "long.txt").write_text("the " * 21 + "househousexxriver\n")
    assert export(model, tmp_path / "small", "--prune-vocabulary", "--texts", tmp_path / "long.txt") == 0
    pieces = load_encoder(model, key="k").tokenizer.tokenize("househousexxriver")
    assert len(pieces) > 2 and set(pieces) <= words_of(tmp_path / "small")


def test_a_column_and_the_texts_that_are_compared(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlembed.export_verb.pruning, "CHUNK_TEXTS", 4)
    monkeypatch.setattr(mlembed.export_verb.pruning, "COMPARED_TEXTS", 6)
    (tmp_path / "in.tsv").write_text("text\tother\n" + "river\tthe red cat\n" * 9 + "river\tbird\n", encoding="utf-8")
    more = ("--prune-vocabulary", "--texts", tmp_path / "in.tsv", "--column", "other")
    assert export(model, tmp_path / "small", *more) == 0
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    assert words_of(tmp_path / "small") == special | {"the", "red", "cat", "bird"}
    assert "10 texts with 6 different tokens; on 6 of them (60%)" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["run", "run/student", "run/checkpoints/step-2"])
def test_a_run_is_pruned_to_its_data(trained: Path, tmp_path: Path, target: str) -> None:
    assert export(trained / target, tmp_path / "small", "--prune-vocabulary") == 0
    found = words_of(tmp_path / "small")
    assert {"yycat", "yydog", "yybird", "yytree", "yya", "yyold"} == {word for word in found if word.startswith("yy")}
    assert {"the", "xxthe", "xxriver"} <= found
    seen = [*toy_sentences(50), *(translate(text, "xx") for text in toy_sentences(50))]
    source = trained / target / "student" if "step" in target else trained / "run" / "student"
    np.testing.assert_array_equal(vectors(tmp_path / "small", seen), vectors(source, seen))
    card = (tmp_path / "small" / "README.md").read_text()
    own = (source / "README.md").read_text()
    assert card.startswith(own.partition("## Limits")[0].rstrip())
    assert "## Vocabulary" in card and "## Check" in card


def test_a_run_whose_data_are_gone_takes_texts(
    trained: Path, tmp_path: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "data.tsv").rename(trained / "moved.tsv")
    try:
        assert export(trained / "run", tmp_path / "small", "--prune-vocabulary") == 3
        said = capsys.readouterr().err
        assert "data.tsv" in said and "cannot be read again; give --texts FILE" in said
        assert not (tmp_path / "small").exists()
        assert export(trained / "run", tmp_path / "small", "--prune-vocabulary", "--texts", texts) == 0
    finally:
        (trained / "moved.tsv").rename(trained / "data.tsv")
    assert not [word for word in words_of(tmp_path / "small") if word.startswith(("xx", "yy"))], "only these are used"


def test_a_wrong_command_is_refused_before_a_model_is_loaded(
    tmp_path: Path, texts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    prune = ["--prune-vocabulary", "--texts", str(texts)]
    empty = tmp_path / "empty.txt"
    empty.touch()
    cases = [
        (f"{tmp_path}/nowhere/out", [], 2, "there is no folder"),
        (str(texts), [], 2, "this is a file; give the name of a new folder"),
        (f"{tmp_path}/full", [], 2, "this folder is not empty"),
        (".", [], 2, "this is the folder that you are in"),
        ("out", ["--keep-tokens", "5"], 2, "--keep-tokens is for pruning; add --prune-vocabulary"),
        ("out", ["--texts", str(texts)], 2, "--texts is for pruning and for --to static"),
        ("out", ["--prune-vocabulary", "--column", "x"], 2, "--column is for --texts"),
        ("out", [*prune, "--keep-tokens", "-1"], 2, "--keep-tokens -1: a number of tokens is expected, 0 or more"),
        ("out", ["--prune-vocabulary"], 2, "/nowhere/model is no run, nor a checkpoint of one"),
        ("out", [*prune, "--column", "x"], 2, "texts.txt has lines, not columns"),
        ("out", ["--prune-vocabulary", "--texts", "absent.txt"], 3, "absent.txt: no such file"),
        ("out", [*prune, "absent.txt"], 3, "absent.txt: no such file"),
        ("out", ["--prune-vocabulary", "--texts", str(empty)], 3, "empty.txt:1: there is no text whose tokens"),
        ("out", prune, 2, "model: there is no folder"),
        ("out", [], 2, "model: there is no folder"),
    ]
    for output, words, code, message in cases:
        assert main(["export", "/nowhere/model", "--output", output, *words]) == code
        assert message in capsys.readouterr().err
    assert list((tmp_path / "here").iterdir()) == []


def test_nothing_heavy_is_imported_for_help_and_for_mistakes(tmp_path: Path) -> None:
    assert imported(HEAVY, "export") == (2, [])
    assert imported(HEAVY, "export", "--help") == (0, [])
    assert imported(HEAVY, "export", "nowhere", "--output", str(tmp_path / "out"), "--prune-vocabulary") == (2, [])


def test_a_tokenizer_that_others_cannot_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import BertConfig, BertModel, ByT5Tokenizer

    config = BertConfig(
        vocab_size=400, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48
    )
    BertModel(config).save_pretrained(tmp_path / "model")
    ByT5Tokenizer().save_pretrained(tmp_path / "model")
    assert export(tmp_path / "model", tmp_path / "out") == 2
    assert "(ByT5Tokenizer) has no tokenizer.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_other_vectors_are_not_written(tmp_path: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not a number cannot be shown to be the same."""
    folder = write_toy_model(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][5] = float("nan")  # "the"
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert export(folder, tmp_path / "out", "--prune-vocabulary", "--texts", texts) == 1
    assert "the pruned model gives other vectors (they differ by up to nan)" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"model", "texts.txt"}


@pytest.mark.parametrize("limit", [100, 3000, 20_000])
def test_a_full_disk_leaves_nothing(
    model: Path, tmp_path: Path, limit: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tokenizer is too large, or the weights are; each is written by a library of its own."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        code = export(model, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 4
    said = capsys.readouterr().err
    assert f"--output {tmp_path / 'out'} cannot be written: " in said and "File too large" in said
    assert list(tmp_path.iterdir()) == []


def test_a_signal_ends_it_and_leaves_nothing(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")

    def feed() -> None:
        with (tmp_path / "pipe").open("w") as pipe:
            pipe.write("the\n")
            pipe.flush()
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert export(model, tmp_path / "out", "--prune-vocabulary", "--texts", tmp_path / "pipe") == 143
    feeder.join()
    assert "ended by SIGTERM; nothing was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_the_help_and_the_tab_know_the_same_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert set(re.findall(r"(?<![\w-])--[a-z-]+\b", capsys.readouterr().out)) == set(PLAIN["export"])
