"""Exports of toy models for the tests, and the Python of their cards in processes of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from toys import toy_encoder, toy_sentences

from mlembed.cli import main
from mlembed.compute import Compute
from mlembed.export.sentence_transformers import export_encoder
from mlembed.models.encode import encode
from mlembed.models.encoder import Dense, Encoder, load_encoder
from mlembed.models.static import StaticTransformer, make_table

CPU = Compute(torch.device("cpu"), "fp32")
TEXTS = [*toy_sentences(20), "words that nobody knows", "the " * 60, "cat"]
# What the snippets of cards read.
SENTENCES = ["A cat sits on the mat.", "Die Katze sitzt auf der Matte."]
SAVE = "import numpy as np\nnp.save('found.npy', vectors)\n"


def export(target: str | Path, output: Path, *more: str) -> int:
    return main(["export", str(target), "--output", str(output), *more])


def vectors(folder: Path, texts: list[str] = TEXTS) -> np.ndarray:
    return encode(load_encoder(folder, key="k"), texts, compute=CPU)


def projected(*, pooling: str = "mean") -> Encoder:
    toy = toy_encoder()
    with torch.random.fork_rng():
        torch.manual_seed(2)
        layers = [Dense(32, 16, bias=True, activation="tanh"), Dense(16, 12, bias=False, activation="identity")]
    return Encoder(
        toy.transformer, tokenizer=toy.tokenizer, pooling=pooling, dense=layers, normalize=True, max_length=24
    )


def static_encoder() -> Encoder:
    toy = toy_encoder()
    table = toy.transformer.get_input_embeddings().weight
    return Encoder(
        StaticTransformer(make_table(table)),
        tokenizer=toy.tokenizer,
        pooling="mean",
        dense=[],
        normalize=True,
        max_length=1_000_000,
    )


def write(encoder: Encoder, folder: Path) -> Path:
    folder.mkdir()
    export_encoder(encoder, folder, card="# Somebody's model\n")
    return folder


def snippet(card: Path, folder: Path) -> str:
    """The Python of a card, for this folder, that saves its result."""
    code = re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), flags=re.DOTALL)[-1]
    assert "path/of/this/folder" in code
    return code.replace("path/of/this/folder", str(folder))


def run_snippet(folder: Path, *, ending: str = "") -> str:
    """What the Python of a folder's card prints in a new process that cannot reach mlembed."""
    code = f"import sys\nsys.modules['mlembed'] = None\n{snippet(folder / 'README.md', folder)}{ending}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder.parent,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
