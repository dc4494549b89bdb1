"""An order that needs no memory, and languages drawn as often as was asked for."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import toy_sentences, toy_tokenizer, translate

from mlembed.data import corpus_tokens, plan
from mlembed.data.corpus import Corpus
from mlembed.data.corpus_tokens import StoredTokens, store_tokens
from mlembed.data.gather import make_corpus
from mlembed.data.order import order_key, shuffled, spread
from mlembed.data.plan import BatchPlan, count_batches
from mlembed.data.records import Row
from mlembed.data.sampling import Draw, Sampling, shares
from mlembed.errors import ConfigError
from mlembed.tokens import batches_by_length, tokenize

CPU = torch.device("cpu")
COUNTS = {"xx": 400, "yy": 100, "zz": 25}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    sentences = toy_sentences(400)
    rows = [
        Row(sentence, translate(sentence, language), language, "toy.tsv", at)
        for language, count in COUNTS.items()
        for at, sentence in enumerate(sentences[:count])
    ]
    return make_corpus(rows)


def drawn(draw: Draw, epoch: int) -> Counter[int]:
    """How often each member is drawn in an epoch."""
    return Counter(draw.members(np.arange(len(draw)), epoch=epoch).tolist())


def by_language(corpus: Corpus, members: Counter[int]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for member, times in members.items():
        counts[corpus.languages[corpus.language_of_members[member]]] += times
    return dict(counts)


# --- order ---


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 17, 101, 997, 65_537])
def test_each_number_stands_at_one_place(size: int) -> None:
    order = shuffled(np.arange(size), size, key=order_key(1, 2))
    assert np.array_equal(np.sort(order), np.arange(size))
    assert size < 16 or not np.array_equal(order, shuffled(np.arange(size), size, key=order_key(1, 3)))
    some = np.arange(0, size, 3)
    assert np.array_equal(shuffled(some, size, key=order_key(1, 2)), order[some]), "whatever else is asked for"


def test_sequences_of_several_lengths_at_once() -> None:
    sizes = [1, 2, 50, 997]
    places = np.concatenate([np.arange(size) for size in sizes])
    order = np.split(shuffled(places, np.repeat(sizes, sizes), key=7), np.cumsum(sizes)[:-1])
    for size, found in zip(sizes, order, strict=True):
        assert np.array_equal(found, shuffled(np.arange(size), size, key=7))


def test_the_order_looks_like_chance() -> None:
    orders = Counter(tuple(shuffled(np.arange(4), 4, key=order_key(key)).tolist()) for key in range(4800))
    assert len(orders) == 24 and min(orders.values()) > 130 and max(orders.values()) < 270
    size = 100_000
    order = shuffled(np.arange(size), size, key=order_key(0))
    assert abs(np.corrcoef(order, np.arange(size))[0, 1]) < 0.02
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.02
    assert abs(np.diff(order)).mean() == pytest.approx(size / 3, rel=0.02)
    assert np.bincount(order[:16_000] // 10_000).min() > 1450


@pytest.mark.parametrize(("total", "count"), [(20, 7), (20, 1), (20, 19), (20, 20), (20, 30), (1000, 333)])
def test_what_is_kept_is_spread_evenly(total: int, count: int) -> None:
    kept = np.flatnonzero(spread(np.arange(total), total=total, count=count)).tolist()
    assert kept == sorted({at * total // count for at in range(count)})


# --- sampling ---


def test_without_sampling_an_epoch_is_all_there_is(corpus: Corpus) -> None:
    draw = Draw(corpus, Sampling(), seed=0)
    assert drawn(draw, 3) == Counter(range(525)) and draw.counts() == COUNTS


@pytest.mark.parametrize("temperature", [2.0, 5.0, 100.0])
def test_a_temperature_evens_languages_out(corpus: Corpus, temperature: float) -> None:
    draw = Draw(corpus, Sampling(temperature=temperature), seed=0)
    powers = {language: count ** (1 / temperature) for language, count in COUNTS.items()}
    assert sum(draw.counts().values()) == len(draw) == 525
    for language, count in draw.counts().items():
        assert abs(count - 525 * powers[language] / sum(powers.values())) < 1
    for epoch in (0, 1, 2):
        found = drawn(draw, epoch)
        assert by_language(corpus, found) == draw.counts(), "to the text, in each epoch"
        for language, count in COUNTS.items():
            times = [found[at] for at, row in enumerate(corpus.rows()) if row.language == language]
            assert max(times) - min(times) <= 1 and len(times) == count


def test_what_is_drawn_less_often_takes_turns(corpus: Corpus) -> None:
    draw = Draw(corpus, Sampling(temperature=5.0), seed=0)
    of_xx = [[at for at in drawn(draw, epoch) if at in set(_members(corpus, "xx"))] for epoch in (0, 1)]
    assert len(of_xx[0]) == len(of_xx[1]) == draw.counts()["xx"] <= 230
    assert len({*of_xx[0], *of_xx[1]}) == min(400, 2 * draw.counts()["xx"])
    assert drawn(draw, 0) != drawn(draw, 1)
    assert drawn(draw, 1) == drawn(Draw(corpus, Sampling(temperature=5.0), seed=0), 1)
    assert drawn(draw, 1) != drawn(Draw(corpus, Sampling(temperature=5.0), seed=1), 1)


def _members(corpus: Corpus, language: str) -> list[int]:
    return np.flatnonzero(corpus.language_of_members == corpus.languages.index(language)).tolist()


def test_weights_and_a_cap(corpus: Corpus) -> None:
    weighted = Draw(corpus, Sampling(language_weights={"YY": 2.0}), seed=0)
    assert weighted.counts() == {"xx": 336, "yy": 168, "zz": 21}, "twice as often beside the others; as many in all"
    capped = Draw(corpus, Sampling(max_per_language=100), seed=0)
    assert capped.counts() == {"xx": 100, "yy": 100, "zz": 25} and len(capped) == 225
    chosen = sorted(at for at in drawn(capped, 0) if at in set(_members(corpus, "xx")))
    assert chosen == _members(corpus, "xx")[::4], "spread evenly"
    assert drawn(capped, 0) == drawn(capped, 5), "and the same in each epoch"
    both = Draw(corpus, Sampling(max_per_language=100, temperature=2.0, language_weights={"zz": 3.0}), seed=0)
    assert both.counts() == {"xx": 64, "yy": 64, "zz": 97}
    with pytest.raises(ConfigError, match=r"data\.language_weights: no text is in 'qq'; the languages are xx, yy, zz"):
        Draw(corpus, Sampling(language_weights={"qq": 2.0}), seed=0)


def test_shares_have_the_sum() -> None:
    for total in (0, 1, 10, 1001):
        found = shares(np.array([0.0, 1.0, 1.0, 1.5, 0.2]), total=total)
        assert found.sum() == total and found[0] == 0
    assert shares(np.array([2.0, 1.0, 1.0]), total=4).tolist() == [2, 1, 1]


# --- plan ---


def make_plan(corpus: Corpus, **options: Any) -> BatchPlan:
    tokens = tokenize(list(corpus.texts), tokenizer=toy_tokenizer(), max_length=64)
    return BatchPlan(corpus, tokens=tokens, batch_tokens=128, source_weight=1.0, seed=1, **options)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=3.0)])
def test_an_epoch_goes_on_from_any_position(
    corpus: Corpus, sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "POOL_TEXTS", 100)
    whole = [batch.tolist() for batch in make_plan(corpus, sampling=sampling).epoch(2)]
    epoch = make_plan(corpus, sampling=sampling).epoch(2)
    assert len(epoch) == len(whole) > 40
    for position in (0, 1, 17, len(whole) - 1, len(whole)):
        assert [batch.tolist() for batch in epoch[position:]] == whole[position:]
    with pytest.raises(IndexError):
        epoch[len(whole)]
    entries = Counter(np.concatenate(whole).astype(int).tolist())
    assert entries.total() == 400 + 525 and all(entries[at] == 1 for at in range(400)), "each source once"


def test_languages_of_a_plan_are_those_of_the_draw(corpus: Corpus) -> None:
    sampled = make_plan(corpus, sampling=Sampling(temperature=5.0))
    for epoch in (0, 1):
        entries = np.concatenate(list(sampled.epoch(epoch)))
        members = Counter((entries[entries >= 400] - 400).tolist())
        assert by_language(corpus, members) == sampled.texts_by_language()


def test_batches_are_counted_as_they_are_made() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        lengths = generator.integers(1, 90, size=generator.integers(0, 300))
        assert count_batches(lengths, 128) == len(batches_by_length(lengths, batch_tokens=128))


class ManyTexts:
    """Five million entries that lie nowhere."""

    source_count, languages = 1_000_000, ["xx"]
    counts_L = np.array([4_000_000])

    class Column:
        def __getitem__(self, members: np.ndarray) -> np.ndarray:
            return members // 4

    members = source_of_members = Column()

    def lengths(self, texts_N: np.ndarray) -> np.ndarray:
        return 3 + texts_N * 2654435761 % 2**32 % 40

    def padded(self, texts_B: np.ndarray, *, device: torch.device) -> tuple[Tensor, Tensor]:
        raise AssertionError

    def __len__(self) -> int:
        return 5_000_000


def test_the_order_of_millions_needs_no_memory() -> None:
    many: Any = ManyTexts()
    large = BatchPlan(many, tokens=many, batch_tokens=4096, source_weight=1.0, seed=0)
    tracemalloc.start()
    epoch = large.epoch(0)
    read = sum(len(epoch[at]) for at in range(1000, 2000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(epoch) > 20_000 and read > 100_000
    assert peak < 6e6, peak


# --- tokens ---


def test_stored_tokens_are_those_of_the_tokenizer(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(corpus_tokens, "TOKENIZER_BATCH", 50)
    monkeypatch.setattr(corpus_tokens, "BATCH_TEXTS", 200)
    tokenizer = toy_tokenizer()
    path = store_tokens(corpus, tokenizer=tokenizer, max_length=8)
    stored = StoredTokens(path, pad_id=tokenizer.pad_token_id)
    table = tokenize(list(corpus.texts), tokenizer=toy_tokenizer(), max_length=8)
    numbers = np.arange(len(table))
    assert len(stored) == len(table) > 800
    assert np.array_equal(stored.lengths(numbers), table.lengths_N) and table.lengths_N.max() == 8
    assert np.array_equal(np.concatenate(list(stored.batches())), table.ids)
    assert np.array_equal(stored.used_ids(), np.unique(table.ids))
    some = np.array([len(table) - 1, 0, 200, 199, 200])
    for mine, other in zip(stored.padded(some, device=CPU), table.padded(some, device=CPU), strict=True):
        assert torch.equal(mine, other)
    caplog.set_level("INFO", logger="mlembed")
    changed = path.stat().st_mtime_ns
    assert store_tokens(corpus, tokenizer=toy_tokenizer(), max_length=8) == path
    assert path.stat().st_mtime_ns == changed and "nothing is tokenized" in caplog.text
    assert store_tokens(corpus, tokenizer=tokenizer, max_length=9) != path
    assert store_tokens(corpus, tokenizer=toy_tokenizer(["more"]), max_length=8) != path
    assert store_tokens(corpus, tokenizer=tokenizer, max_length=8, add_special_tokens=False) != path


def test_damaged_tokens_are_made_anew(corpus: Corpus) -> None:
    path = store_tokens(corpus, tokenizer=toy_tokenizer(), max_length=7)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert store_tokens(corpus, tokenizer=toy_tokenizer(), max_length=7).read_bytes() == whole
