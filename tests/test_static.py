"""Static students: token vectors in the teacher's space, trained and exported like any other student."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from toys import LANGUAGES, toy_command, toy_encoder, toy_sentences, translate

from mlembed.cli import main
from mlembed.compute import Compute
from mlembed.errors import ConfigError
from mlembed.export.sentence_transformers import export_encoder
from mlembed.models.encode import encode, encode_tokens
from mlembed.models.encoder import Encoder, load_encoder
from mlembed.models.static_start import static_student
from mlembed.tokens import TokenTable

CPU = Compute(torch.device("cpu"), "fp32")
SOURCES = toy_sentences(150, seed=4)


def start(teacher: Encoder, *, min_frequency: int = 2) -> Encoder:
    texts = [*SOURCES, *(translate(text, language) for language in LANGUAGES for text in SOURCES)]
    pairs = [(count, count % len(SOURCES)) for count in range(len(SOURCES), len(texts))]

    def encode_all(encoder: Encoder, tokens: TokenTable, *, what: str) -> np.ndarray:
        return encode_tokens(encoder, tokens, compute=CPU)

    return static_student(
        teacher,
        texts,
        pairs=np.array(pairs),
        size=5000,
        min_frequency=min_frequency,
        encode_tokens=encode_all,
        advance=lambda count: None,
        seed=0,
    )


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run `run` with a static student."""
    folder = tmp_path_factory.mktemp("static")
    words = [word for word in toy_command(folder) if not word.startswith(("model=", "model.student"))]
    words += ["model=static", "model.min_frequency=2", "trainer.epochs=3", "optimizer.lr=2e-3"]
    assert main([*words, f"run.dir={folder / 'run'}", "trainer.progress=none"]) == 0
    return folder


def test_a_token_starts_where_the_teacher_puts_its_translation() -> None:
    teacher = toy_encoder(seed=2)
    student = start(teacher)
    table_VD = student.transformer.embedding.weight.detach().numpy()
    single_ND = encode(teacher, ["dog", "house"], compute=CPU)
    ids = [student.tokenizer.convert_tokens_to_ids(token) for token in ("xxdog", "xxhouse")]
    rows_ND = table_VD[ids] / np.linalg.norm(table_VD[ids], axis=1, keepdims=True)
    similarity = rows_ND @ single_ND.T
    assert (similarity.diagonal() > similarity[[0, 1], [1, 0]] + 0.1).all()


def test_frequent_tokens_start_shorter() -> None:
    teacher = toy_encoder(seed=2)
    texts = [f"the {word}" for word in ("dog", "cat", "house", "tree", "river", "bird") * 3]
    student = static_student(
        teacher,
        [*texts, *(translate(text, "xx") for text in texts)],
        pairs=np.array([(len(texts) + at, at) for at in range(len(texts))]),
        size=5000,
        min_frequency=2,
        encode_tokens=lambda encoder, tokens, what: encode_tokens(encoder, tokens, compute=CPU),
        advance=lambda count: None,
        seed=0,
    )
    lengths_V = student.transformer.embedding.weight.detach().norm(dim=1)
    the, dog = (lengths_V[student.tokenizer.convert_tokens_to_ids(token)] for token in ("xxthe", "xxdog"))
    assert the < dog


def test_the_vector_of_a_text_is_the_mean_of_its_tokens() -> None:
    student = start(toy_encoder(seed=2))
    ids = student.tokenizer("xxdog xxsees", add_special_tokens=False)["input_ids"]
    mean_D = student.transformer.embedding.weight.detach()[ids].mean(0)
    vector_D = encode(student, ["xxdog xxsees", "a longer text, for padding"], compute=CPU)[0]
    np.testing.assert_allclose(vector_D, (mean_D / mean_D.norm()).numpy(), atol=1e-5)
    assert not encode(student, [" "], compute=CPU).any(), "no token, no vector: as sentence-transformers has it"


def test_order_does_not_matter_and_nothing_is_too_long() -> None:
    student = start(toy_encoder(seed=2))
    text = "the red dog sees a tree"
    vectors_ND = encode(student, [text, " ".join(reversed(text.split())), " ".join([text] * 200)], compute=CPU)
    np.testing.assert_allclose(vectors_ND[1:], vectors_ND[[0, 0]], atol=1e-5)


def test_a_run_learns_and_its_student_loads_again(workshop: Path) -> None:
    report = json.loads((workshop / "run" / "report.json").read_text(encoding="utf-8"))
    for language in LANGUAGES:
        scores = {name: system["languages"][language]["cosine"]["value"] for name, system in report["systems"].items()}
        assert scores["after"] > scores["before"] + 0.02
    student = workshop / "run" / "student"
    assert not (student / "config.json").exists() and not (student / "sentence_bert_config.json").exists()
    listed = json.loads((student / "modules.json").read_text(encoding="utf-8"))
    assert [module["type"].rpartition(".")[2] for module in listed] == ["StaticEmbedding", "Normalize"]
    assert set(load_file(student / "model.safetensors")) == {"embedding.weight"}
    assert load_encoder(student, key="k").is_static
    assert main(["eval", str(workshop / "run"), f"run.dir={workshop / 'eval'}", "device=cpu"]) == 0


def test_a_run_goes_on_to_the_same_weights(workshop: Path, tmp_path: Path) -> None:
    words = [word for word in toy_command(workshop) if not word.startswith(("model=", "model.student"))]
    words += ["model=static", "model.min_frequency=2", "trainer.progress=none"]
    assert main([*words, "trainer.max_steps=8", f"run.dir={tmp_path / 'whole'}"]) == 0
    parts = [*words, f"run.dir={tmp_path / 'parts'}", "optimizer.schedule=constant", "trainer.save_every=1"]
    whole = [*words, f"run.dir={tmp_path / 'one'}", "optimizer.schedule=constant", "optimizer.warmup=0"]
    assert main([*parts, "optimizer.warmup=0", "trainer.max_steps=4"]) == 0
    assert main(["train", "--resume", str(tmp_path / "parts"), "trainer.max_steps=8"]) == 0
    assert main([*whole, "trainer.max_steps=8"]) == 0
    one, other = (load_file(tmp_path / name / "student" / "model.safetensors") for name in ("one", "parts"))
    assert torch.equal(one["embedding.weight"], other["embedding.weight"])


def write_static(folder: Path) -> Path:
    folder.mkdir()
    export_encoder(start(toy_encoder(seed=2)), folder, card="a toy\n")
    return folder


def test_names_of_model2vec_are_read(tmp_path: Path) -> None:
    folder = write_static(tmp_path / "model")
    expected = encode(load_encoder(folder, key="k"), SOURCES[:5], compute=CPU)
    table = load_file(folder / "model.safetensors")["embedding.weight"]
    save_file({"embeddings": table}, folder / "model.safetensors")
    (folder / "tokenizer_config.json").unlink()
    np.testing.assert_array_equal(encode(load_encoder(folder, key="k"), SOURCES[:5], compute=CPU), expected)


def test_broken_folders_are_told(tmp_path: Path) -> None:
    folder = write_static(tmp_path / "model")
    table = load_file(folder / "model.safetensors")["embedding.weight"]
    for tensors, expected in (
        ({"other": table}, "is not one table embedding.weight of token vectors"),
        ({"embeddings": table, "weights": table[:, 0].contiguous()}, "is not one table"),
        ({"embedding.weight": table[:10].clone()}, "has more tokens than the 10 rows"),
    ):
        broken = tmp_path / "broken"
        shutil.copytree(folder, broken)
        save_file(tensors, broken / "model.safetensors")
        with pytest.raises(ConfigError, match=expected):
            load_encoder(broken, key="k")
        shutil.rmtree(broken)
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be loaded as a static model"):
        load_encoder(folder, key="k")


@pytest.mark.slow
def test_sentence_transformers_gives_the_same_vectors(workshop: Path) -> None:
    from sentence_transformers import SentenceTransformer

    student = workshop / "run" / "student"
    texts = [*SOURCES[:20], *(translate(text, "xx") for text in SOURCES[:20]), "unseen !", "the " * 300]
    model = SentenceTransformer(str(student), device="cpu")
    assert type(model[0]).__name__ == "StaticEmbedding"
    np.testing.assert_allclose(
        model.encode(texts), encode(load_encoder(student, key="k"), texts, compute=CPU), atol=1e-5
    )
