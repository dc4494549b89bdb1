"""The single looks of `mlembed check`: shifted lines, languages, samples, and what is written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import WORDS, toy_sentences, toy_tokenizer, translate

from mlembed.check.clean import write_clean
from mlembed.check.language import foreign_texts, make_identifier
from mlembed.check.misaligned import LEAST_BY_WORDS, misaligned_rows
from mlembed.check.parallel_rows import sample_rows
from mlembed.compute import Compute, Processes
from mlembed.data.records import Row
from mlembed.machine import Machine
from mlembed.signals import StopRequest


def machine() -> Machine:
    device = torch.device("cpu")
    return Machine(Compute(device, "fp32"), Processes(device), StopRequest(), "none", 4096)


def bag_of_words(texts: Sequence[str]) -> np.ndarray:
    """Vectors in which a toy sentence and its translation are the same."""
    vectors = np.zeros((len(texts), len(WORDS)))
    for at, text in enumerate(texts):
        for word in text.split():
            vectors[at, WORDS.index(word.removeprefix("xx"))] += 1
    return vectors


@pytest.mark.parametrize(("encode", "by", "count"), [(None, "words", LEAST_BY_WORDS), (bag_of_words, "model", 600)])
def test_shifted_lines_are_found(encode: Callable[[Sequence[str]], np.ndarray] | None, by: str, count: int) -> None:
    sentences = toy_sentences(count, seed=7)
    targets = [translate(one, "xx") for one in sentences]
    block = range(200, 215)
    targets[200:215] = [*targets[201:215], targets[200]]
    pairs = [Row(*both, "xx", "x", at) for at, both in enumerate(zip(sentences, targets, strict=True))]
    numbers = np.arange(count)
    (mark,), about = misaligned_rows(
        pairs, numbers=numbers, tokenizer=toy_tokenizer(), encode=encode, machine=machine(), seed=1
    )
    found = set(mark.rows_M.tolist())
    assert about["xx"]["by"] == by
    # Of twenty words two sentences have some in common by chance.
    assert len(found & set(block)) >= (3 if encode is None else 11)
    assert len(found - set(block)) <= (5 if encode is None else 1)


def test_words_of_few_pairs_decide_nothing_alone() -> None:
    """They found fault with every sixth of 600 correct translations."""
    pairs = [Row(one, translate(one, "xx"), "xx", "x", at) for at, one in enumerate(toy_sentences(600, seed=7))]
    shifted = [Row(one.source, two.target, "xx", "x", one.line) for one, two in itertools.pairwise(pairs)]
    marks, _ = misaligned_rows(
        shifted, numbers=np.arange(len(shifted)), tokenizer=toy_tokenizer(), encode=None, machine=machine(), seed=1
    )
    assert marks == []


def test_other_languages_are_found() -> None:
    identifier = make_identifier()
    assert identifier is not None
    texts = [
        "Der Hund läuft über die große Wiese und bellt laut.",
        "Le chien court à travers la grande prairie et aboie fort.",
        "El perro corre por el gran prado y ladra muy fuerte.",
        "Ja.",
    ]
    (mark,) = foreign_texts(
        texts,
        ["de", "de_AT", "es", "fr"],
        numbers=np.array([5, 6, 7, 8]),
        looked_at=4,
        identifier=identifier,
        poll=lambda: None,
    )
    assert mark.rows_M.tolist() == [6] and mark.why(0).endswith("looks like fr, not de_AT")


def test_a_sample_is_even_over_languages_and_the_same_again() -> None:
    language_N = np.array([0] * 900 + [1] * 60 + [2] * 40)
    chosen = sample_rows(language_N, size=150, seed=1)
    assert np.bincount(language_N[chosen]).tolist() == [55, 55, 40]
    assert chosen.tolist() == sample_rows(language_N, size=150, seed=1).tolist()
    assert len(sample_rows(language_N, size=2000, seed=1)) == 1000


def test_a_clean_table_has_no_tabs_in_its_cells_and_is_whole_or_not_there(tmp_path: Path) -> None:
    rows = [{"source": "a\tb", "target": "c\nd", "lang": "xx"}, {"source": "e", "target": "f", "lang": "yy"}]
    columns, path = ["source", "target", "lang"], tmp_path / "clean.tsv"
    assert write_clean(path, rows, columns=columns, ending=".tsv") == 2
    assert path.read_text(encoding="utf-8") == "source\ttarget\tlang\na b\tc d\txx\ne\tf\tyy\n"

    def failing() -> Iterator[dict[str, object]]:
        yield dict(rows[0])
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_clean(path, failing(), columns=columns, ending=".tsv")
    assert path.read_text(encoding="utf-8").endswith("yy\n") and len(list(tmp_path.iterdir())) == 1
