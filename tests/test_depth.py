"""A shallower student has the layers that were asked for, also after it was saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toys import toy_encoder

from mlembed.errors import ConfigError
from mlembed.export.sentence_transformers import export_encoder
from mlembed.models.depth import keep_layers, layers_of
from mlembed.models.encoder import load_encoder


def test_the_kept_layers_are_the_old_ones_in_the_order_asked_for(tmp_path: Path) -> None:
    whole, shallow = toy_encoder(layers=4), toy_encoder(layers=4)
    keep_layers(shallow, [0, -1])
    kept = layers_of(shallow)[1]
    assert len(kept) == 2
    for layer, number in zip(kept, (0, 3), strict=True):
        for one, other in zip(layer.parameters(), layers_of(whole)[1][number].parameters(), strict=True):
            assert torch.equal(one, other)
    export_encoder(shallow, tmp_path, card="a toy\n")
    loaded = load_encoder(tmp_path, key="student")
    assert loaded.transformer.config.num_hidden_layers == 2
    for one, other in zip(loaded.parameters(), shallow.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("kept", "problem"), [([0, 4], "there is no layer 4"), ([1, -3], "named twice")])
def test_layers_that_are_not_there(kept: list[int], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        keep_layers(toy_encoder(layers=4), kept)
