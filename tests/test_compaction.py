"""Vocabulary compaction trains as the full table does, and gives the untrained rows back bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from toys import toy_encoder

from mlembed.export.model_folder import load_weights
from mlembed.export.sentence_transformers import export_encoder
from mlembed.models.compaction import CompactEmbedding, compact_vocabulary, full_vocabulary
from mlembed.models.encoder import Encoder, load_encoder
from mlembed.optimization import make_optimizer

TEXTS = ["the red cat sees a bird", "old dog likes the river"]
UNSEEN = ["xxthe xxred xxcat"]


def table_of(encoder: Encoder) -> torch.Tensor:
    with full_vocabulary(encoder):
        return encoder.transformer.get_input_embeddings().weight.detach().clone()


def train(encoder: Encoder, *, steps: int) -> None:
    tokens = encoder.tokenize(TEXTS)
    ids_BT, mask_BT = tokens.padded(np.arange(len(TEXTS)), device=torch.device("cpu"))
    optimizer = make_optimizer(encoder, kind="adamw", lr=1e-2, weight_decay=0.0)
    encoder.train()
    for _ in range(steps):
        optimizer.zero_grad()
        encoder(ids_BT, mask_BT)[:, 0].sum().backward()
        optimizer.step()
    encoder.eval()


def vectors(encoder: Encoder, texts: list[str]) -> torch.Tensor:
    tokens = encoder.tokenize(texts)
    with torch.inference_mode():
        return encoder(*tokens.padded(np.arange(len(texts)), device=torch.device("cpu")))


def test_compact_training_equals_full_training() -> None:
    full, compact = toy_encoder(dropout=0.0), toy_encoder(dropout=0.0)
    trained = compact_vocabulary(compact, compact.tokenize(TEXTS).ids)
    assert trained == len({*compact.tokenize(TEXTS).ids.tolist(), 0})
    train(full, steps=5)
    train(compact, steps=5)
    torch.testing.assert_close(table_of(compact), table_of(full), rtol=0, atol=1e-6)
    for texts in (TEXTS, UNSEEN, TEXTS + UNSEEN):
        torch.testing.assert_close(vectors(compact, texts), vectors(full, texts), rtol=0, atol=1e-5)


def test_rows_that_no_text_uses_stay_bit_for_bit_and_are_not_in_the_optimizer() -> None:
    encoder = toy_encoder(dropout=0.0)
    before = table_of(encoder)
    used = np.unique(encoder.tokenize(TEXTS).ids)
    compact_vocabulary(encoder, used)
    assert sum(p.numel() for n, p in encoder.named_parameters() if "word_embeddings" in n) < before.numel() / 2
    # Weight decay would shrink rows that get no gradient, if they were parameters.
    optimizer = make_optimizer(encoder, kind="adamw", lr=1e-2, weight_decay=0.5)
    encoder.train()
    encoder(*encoder.tokenize(TEXTS).padded(np.arange(2), device=torch.device("cpu"))).sum().backward()
    optimizer.step()
    after = table_of(encoder)
    unused = np.setdiff1d(np.arange(len(before)), [*used, 0])
    assert torch.equal(after[unused], before[unused])
    assert not torch.equal(after[used], before[used])


def test_a_compact_student_is_exported_whole_and_loads_back(tmp_path: Path) -> None:
    encoder = toy_encoder(dropout=0.0)
    size = len(table_of(encoder))
    compact_vocabulary(encoder, encoder.tokenize(TEXTS).ids)
    train(encoder, steps=3)
    export_encoder(encoder, tmp_path, card="a toy\n")
    exported = load_encoder(tmp_path, key="student")
    assert exported.transformer.get_input_embeddings().weight.shape[0] == size
    assert torch.equal(vectors(exported.eval(), TEXTS + UNSEEN), vectors(encoder, TEXTS + UNSEEN))
    assert isinstance(encoder.transformer.get_input_embeddings(), CompactEmbedding)

    fresh = toy_encoder(seed=5, dropout=0.0)
    compact_vocabulary(fresh, fresh.tokenize(TEXTS).ids)
    load_weights(fresh, tmp_path)
    assert torch.equal(vectors(fresh.eval(), TEXTS + UNSEEN), vectors(encoder, TEXTS + UNSEEN))
