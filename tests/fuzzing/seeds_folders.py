"""Small valid folders: checkpoints, runs, shards of vectors, entries of the cache, students."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path

import numpy as np

from fuzzing.mutations import Files

CHECKPOINT = "checkpoints/step-3"
SHARD = "shard.vectors"
WIDTH = 4


def read_files(folder: Path) -> Files:
    """All files below a folder, by their relative names."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_files(folder: Path, files: Files) -> None:
    """Write files below a folder; names that lead out of it are not expected here."""
    for name, content in files.items():
        path = folder / name
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
        path.write_bytes(content)


@functools.cache
def defaults() -> dict[str, object]:
    """The default configuration of a training run, as plain values."""
    from hydra import compose, initialize_config_module
    from omegaconf import OmegaConf

    with initialize_config_module("mlembed.conf", version_base="1.3"):
        plain = OmegaConf.to_container(compose("train"), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def run_config() -> list[Files]:
    """What a run keeps of its configuration."""
    files = {"kind": "files", "train": ["a.tsv"], "languages": ["de"], "columns": {}}
    data = defaults()["data"]
    assert isinstance(data, dict)
    other = {**defaults(), "data": {**data, **files}}
    return [{"config.json": json.dumps(plain).encode()} for plain in (defaults(), other)]


def overrides() -> list[Files]:
    """Words of a command line, a line each."""
    lines = [
        ["data=files", "data.train=[a.tsv,b.tsv]", "data.languages=[de,fr]", "optimizer.lr=1e-4", "run.name=first"],
        ["model.student.dropout=0.1", "~data.where", "++trainer.epochs=3", "data.train=/a b/c=d.tsv", "seed=1"],
        ["data.where={domain: [news, talks]}", "trainer.metric=retrieval/de", 'run.name="1.10"', "data.columns.lang=x"],
        ["trainer.precision=bf16", "run.dir=${oc.env:HOME}", "data.max_sources=null", "loss.weight=0.5"],
    ]
    return [{"words.txt": "\n".join(words).encode()} for words in lines]


@functools.cache
def checkpoint() -> list[Files]:
    """A checkpoint of a toy."""
    import torch
    from toys import toy_encoder

    from mlembed.run.checkpoint import CheckpointStore
    from mlembed.run.training_files import random_state, write_training_files

    student = toy_encoder(width=8, layers=1)
    optimizer = torch.optim.AdamW(student.parameters())
    for parameter in student.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    with tempfile.TemporaryDirectory() as folder:
        CheckpointStore(Path(folder, "checkpoints"), keep=2).save(
            3,
            write=lambda path: write_training_files(
                path,
                student=student,
                optimizer=optimizer,
                state={"signature": {"data": "x"}, "step": 3, "epoch": 1, "position": 4},
                random_states=[random_state()],
                card="a toy\n",
            ),
            best_step=None,
        )
        return [read_files(Path(folder))]


def manifest() -> list[Files]:
    """A checkpoint of few files, of which the manifest alone is changed."""
    import hashlib

    from mlembed.run.checkpoint import MANIFEST

    files = {"state.json": b'{"signature": {}}', "student/config.json": b"{}"}
    entries = {name: {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()} for name, raw in files.items()}
    return [{MANIFEST: json.dumps({"files": entries}).encode()}]


def shard() -> list[Files]:
    """Keys and vectors of three texts."""
    from mlembed.cache.request import text_keys
    from mlembed.cache.shard import write_shard

    with tempfile.TemporaryDirectory() as folder:
        written = write_shard(Path(folder), text_keys(["a", "b", "c"]), np.ones((3, WIDTH), dtype=np.float16))
        assert written.path is not None
        return [{SHARD: written.path.read_bytes()}]


def cache_about() -> list[Files]:
    """An entry of the cache with a file that it describes."""
    from mlembed.data.verified_folder import write_about

    with tempfile.TemporaryDirectory() as folder:
        entry = Path(folder, "corpora", "0123456789abcdef")
        entry.mkdir(parents=True)
        (entry / "members.bin").write_bytes(bytes(range(64)))
        write_about(entry / "about.json", [entry / "members.bin"], {"texts": 3}, what="a toy")
        return [read_files(Path(folder))]


@functools.cache
def student() -> list[Files]:
    """An exported encoder."""
    from toys import write_toy_model

    with tempfile.TemporaryDirectory() as folder:
        write_toy_model(Path(folder, "m"), width=8, layers=1)
        return [read_files(Path(folder, "m"))]


@functools.cache
def classifier() -> list[Files]:
    """Exported models with a head: for texts, for words, and for the vectors of pairs."""
    from heads import ONE, WORDS_HEAD, write_classifier
    from toys import toy_encoder

    from mlembed.export.model_folder import export_model
    from mlembed.models.bi_encoder import BiEncoder
    from mlembed.models.classifier import Head

    found = []
    with tempfile.TemporaryDirectory() as folder:
        model = BiEncoder.of(toy_encoder(width=8, layers=1), Head("vectors", ("no", "yes")))
        export_model(model, Path(folder), card="")
        found.append(read_files(Path(folder)))
    for head in (ONE, WORDS_HEAD):
        with tempfile.TemporaryDirectory() as folder:
            found.append(read_files(write_classifier(Path(folder), head)))
    return found
