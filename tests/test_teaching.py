"""The teacher's vectors: each text is encoded once, whatever becomes of the process or of the files."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from teachers import machine_of, shards, small_shards, teaching_of
from toys import toy_command, toy_sentences, write_toy_model

from mlembed import teaching as module
from mlembed.cache.stored_vectors import StoredVectors
from mlembed.cli import main
from mlembed.errors import TrainingFailed
from mlembed.models.encode import encode
from mlembed.models.reduction import fit_reduction

TEXTS = toy_sentences(50)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    caplog.set_level(logging.INFO, logger="mlembed")

    def take() -> str:
        text = caplog.text
        caplog.clear()
        return text

    return take


def numbers(folder: Path, texts: Sequence[str] = TEXTS, **options: object) -> tuple[np.ndarray, int, int]:
    """The vectors of texts by a new process's teacher; how many were encoded, and how many found."""
    teaching = teaching_of(folder, **options)  # type: ignore[arg-type]
    vectors_ND = teaching.vectors(texts)[:]
    teaching.close()
    return vectors_ND, teaching._encoded, teaching._found


def test_they_are_the_teachers_in_float16_and_encoded_once(toy_folder: Path, said: Callable[[], str]) -> None:
    teaching = teaching_of(toy_folder / "teacher")
    found = teaching.vectors([*TEXTS, *TEXTS[:9]])
    machine = machine_of()
    expected = encode(teaching.teacher, TEXTS, compute=machine.compute, batch_tokens=machine.batch_tokens)
    assert isinstance(found, StoredVectors) and found.shape == (59, 32) and len(found) == 59
    assert found[:].dtype == np.float16
    np.testing.assert_array_equal(found[:], np.concatenate([expected, expected[:9]]).astype(np.float16))
    np.testing.assert_array_equal(teaching.encode(TEXTS), expected.astype(np.float16).astype(np.float32))
    teaching.tell()
    assert "teacher: 50 texts encoded, 0 were in the store" in said()
    again = teaching_of(toy_folder / "teacher")
    again.vectors(TEXTS[:30])
    again.encode(TEXTS[20:40])
    again.tell()
    assert "teacher: nothing to encode, all 40 texts were in the store" in said()
    again.vectors(["a text that is new", *TEXTS])
    again.tell()
    assert "teacher: 1 texts encoded, 50 were in the store" in said()
    assert teaching.vectors([])[:].shape == (0, 32)


def test_a_second_run_encodes_nothing_and_is_the_same(toy_folder: Path, tmp_path: Path) -> None:
    logs = []
    for name in ("one", "two"):
        run = tmp_path / name
        assert main([*toy_command(toy_folder), f"run.dir={run}"]) == 0
        logs.append((run / "log.txt").read_text())
    assert "teacher: 160 texts encoded, 0 were in the store" in logs[0]
    assert "teacher: nothing to encode, all 160 texts were in the store" in logs[1]
    weights = [(tmp_path / name / "student" / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
    assert main(["eval", str(tmp_path / "one"), "precision=fp32", "device=cpu", f"run.dir={tmp_path / 'eval'}"]) == 0
    assert "teacher: nothing to encode, all 60 texts" in (tmp_path / "eval" / "log.txt").read_text()


def test_teachers_settings_and_precisions_do_not_mix(toy_folder: Path, tmp_path: Path, own_cache: Path) -> None:
    other = write_toy_model(tmp_path / "other", seed=1)
    shutil.copytree(toy_folder / "teacher", tmp_path / "moved")
    seen = []
    for folder, options, encoded in (
        (toy_folder / "teacher", {}, 50),
        (other, {}, 50),
        (toy_folder / "teacher", {"precision": "bf16"}, 50),
        (toy_folder / "teacher", {"max_length": 5}, 50),
        (tmp_path / "moved", {}, 0),
    ):
        vectors_ND, new, old = numbers(folder, **options)
        assert (new, old) == (encoded, 50 - encoded)
        seen.append(vectors_ND)
    np.testing.assert_array_equal(seen[0], seen[4])
    assert all(not np.array_equal(seen[0], vectors_ND) for vectors_ND in seen[1:4])
    assert len(list(own_cache.glob("teachers/*"))) == 4


def test_a_reduced_teacher_is_another_one(toy_folder: Path) -> None:
    teaching = teaching_of(toy_folder / "teacher")
    whole_ND = teaching.encode(TEXTS)
    teaching.teacher.dense.append(fit_reduction(whole_ND, width=8))
    reduced_ND = teaching.encode(TEXTS)
    assert reduced_ND.shape == (50, 8)
    with torch.no_grad():
        teaching.teacher.dense[0].linear.weight.mul_(-1)
    np.testing.assert_array_equal(teaching.encode(TEXTS), -reduced_ND)
    teaching.close()
    assert (teaching._encoded, teaching._found) == (150, 0)


@pytest.mark.parametrize("fault", ["shard.written:3", "shard.done:3", "encode.teacher:7"])
def test_killed_in_the_middle_it_goes_on_to_the_same_bits(
    toy_folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    small_shards(monkeypatch, 8)
    child = os.fork()
    if child == 0:
        os.environ["MLEMBED_FAULT"] = fault
        numbers(toy_folder / "teacher")
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    left = len(shards(own_cache))
    assert 1 <= left < 7
    vectors_ND, encoded, found = numbers(toy_folder / "teacher")
    assert (encoded, found) == (50 - 8 * left, 8 * left)
    assert len(shards(own_cache)) == 7 and not list(own_cache.glob("teachers/*/*.part"))
    monkeypatch.setenv("MLEMBED_CACHE", str(own_cache.with_name(f"{own_cache.name}-whole")))
    np.testing.assert_array_equal(vectors_ND, numbers(toy_folder / "teacher")[0])


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit of the magic": lambda path: flip(path, 0),
    "a bit of the width": lambda path: flip(path, 12),
    "a bit of the count": lambda path: flip(path, 16),
    "a huge count": lambda path: path.write_bytes(path.read_bytes()[:16] + b"\xff" * 8 + path.read_bytes()[24:]),
    "a bit of the checksum": lambda path: flip(path, 30),
    "a bit of a key": lambda path: flip(path, 45),
    "a bit of a vector": lambda path: flip(path, -3),
    "cut": lambda path: os.truncate(path, path.stat().st_size - 5),
    "cut to nothing": lambda path: os.truncate(path, 0),
    "cut in the header": lambda path: os.truncate(path, 20),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "garbage": lambda path: path.write_bytes(os.urandom(path.stat().st_size)),
    "a link": lambda path: (path.rename(path.with_name("elsewhere")), path.symlink_to("elsewhere")),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a folder": lambda path: (path.unlink(), path.mkdir(), (path / "x").touch()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_named_and_rebuilt(
    toy_folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[[], str], damage: str
) -> None:
    small_shards(monkeypatch, 20)
    before = numbers(toy_folder / "teacher")[0]
    files = {path: path.read_bytes() for path in shards(own_cache)}
    said()
    victim = max(files, key=lambda path: len(files[path]))
    DAMAGES[damage](victim)
    after, encoded, found = numbers(toy_folder / "teacher")
    assert (encoded, found) == (20, 30)
    np.testing.assert_array_equal(after, before)
    text = said()
    assert text.count("is damaged: ") == 1 and victim.name in text and "its texts are encoded again" in text
    assert {path: path.read_bytes() for path in shards(own_cache)} == files
    assert numbers(toy_folder / "teacher")[1:] == (0, 50)
    assert said() == ""


def test_a_deleted_shard_is_made_again(toy_folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_shards(monkeypatch, 20)
    before = numbers(toy_folder / "teacher")[0]
    shards(own_cache)[0].unlink()
    next(own_cache.glob("teachers/*/about.json")).write_text("[")
    after, encoded, found = numbers(toy_folder / "teacher")
    assert encoded > 0 and encoded + found == 50
    np.testing.assert_array_equal(after, before)
    assert '"what": "toy"' in next(own_cache.glob("teachers/*/about.json")).read_text()


def test_a_shard_that_is_damaged_while_its_rows_are_known(toy_folder: Path, own_cache: Path) -> None:
    """Rows that were given out before stay what they are."""
    teaching = teaching_of(toy_folder / "teacher")
    first = teaching.vectors(TEXTS)
    before = first[:]
    other = teaching_of(toy_folder / "teacher")
    flip(shards(own_cache)[0], -3)
    second = other.vectors(["one more", *TEXTS])
    third = teaching.vectors(["one more", *TEXTS])
    np.testing.assert_array_equal(second[:], third[:])
    assert (other._store is not None) and other._store.encoded == 51
    np.testing.assert_allclose(second[1:].astype(float), before.astype(float), atol=2e-3)


class Lazy(Sequence[str]):
    """A sequence that counts how much of it is in memory at once."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.largest = texts, 0

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, at):  # type: ignore[no-untyped-def]
        if isinstance(at, slice):
            self.largest = max(self.largest, len(self.texts[at]))
        return self.texts[at]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("it is not read as a whole")


def test_a_large_sequence_is_read_in_parts(toy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlembed.cache import request, stored_vectors

    whole = numbers(toy_folder / "teacher", [*TEXTS, *TEXTS])[0]
    monkeypatch.setattr(module, "PART_TEXTS", 16)
    monkeypatch.setattr(request, "BLOCK_TEXTS", 7)
    monkeypatch.setattr(stored_vectors, "MEMORY_INDICES", 0)
    monkeypatch.setattr(stored_vectors, "OPEN_SHARDS", 2)
    small_shards(monkeypatch, 5)
    lazy = Lazy([*TEXTS, "new", *TEXTS, "new", "newer"])
    teaching = teaching_of(toy_folder / "teacher")
    found = teaching.vectors(lazy)
    assert lazy.largest == 7
    np.testing.assert_array_equal(found[:50], whole[:50])
    np.testing.assert_array_equal(found[51:101], whole[:50])
    np.testing.assert_array_equal(found[50], found[101])
    assert isinstance(found._row_N, np.memmap)
    teaching.close()
    assert (teaching._encoded, teaching._found) == (2, 50)


def test_rows_in_any_order(toy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_shards(monkeypatch, 7)
    found = teaching_of(toy_folder / "teacher").vectors(TEXTS)
    whole = np.asarray(found)
    generator = np.random.default_rng(0)
    for wanted in (generator.integers(0, 50, 200), np.array([49, 0, 49]), [3], slice(5, 45, 3), whole[:, 0] > 0):
        np.testing.assert_array_equal(found[wanted], whole[wanted])
    np.testing.assert_array_equal(found[np.array([[1, 2], [3, 1]])], whole[[[1, 2], [3, 1]]])
    assert found[np.zeros(0, dtype=np.int64)].shape == (0, 32)
    assert found[7].shape == (32,) and found[-1].tolist() == whole[-1].tolist()
    torch.from_numpy(found[[1, 2]]).add_(1)
    np.testing.assert_array_equal(found[:], whole)
    with pytest.raises(IndexError):
        found[50]


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_what_float16_cannot_hold_is_refused_and_not_kept(toy_folder: Path, own_cache: Path, value: float) -> None:
    teaching = teaching_of(toy_folder / "teacher")
    teaching.teacher.normalize = False
    with torch.no_grad():
        teaching.teacher.transformer.embeddings.LayerNorm.bias[0] = value
        teaching.teacher.transformer.encoder.layer[-1].output.LayerNorm.bias[0] = value
    with pytest.raises(TrainingFailed, match=r"not finite|float16 cannot hold"):
        teaching.vectors(TEXTS)
    assert shards(own_cache) == []
