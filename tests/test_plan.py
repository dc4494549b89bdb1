"""Rows become groups, groups become batches: each text once an epoch, in an order that (seed, epoch) decides."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from gathering import gather
from toys import toy_sentences, toy_tokenizer, translate

from mlembed.data import plan as plan_module
from mlembed.data.corpus import Corpus
from mlembed.data.gather import make_corpus
from mlembed.data.plan import BatchPlan
from mlembed.data.records import Row
from mlembed.data.steps import steps_in
from mlembed.tokens import TokenTable, batches_by_length, tokenize

CPU = torch.device("cpu")


def row(source: str, target: str, language: str, line: int = 1) -> Row:
    return Row(source, target, language, "toy.tsv", line)


ROWS = [
    row("the red dog", "xxdog xxred xxthe", "xx", 2),
    row("a cat", "xxcat xxa", "xx", 3),
    row("the red dog", "yydog yyred yythe", "yy", 4),
    row("a cat", "the red dog", "yy", 5),  # a translation that is also a source
    row("the bird", "xxcat xxa", "xx", 6),  # the same translation of another source
]


def mixed_corpus(*, sources: int = 400) -> Corpus:
    """Sentences of 2 to 60 words, with one to three translations each."""
    generator = random.Random(0)
    sentences = [
        " ".join(generator.choices(toy_sentences(30), k=generator.choice([1, 1, 2, 5, 10]))) for _ in range(sources)
    ]
    rows = [
        row(f"{sentence} {at}", f"{translate(sentence, language)} {at}", language, at)
        for at, sentence in enumerate(sentences)
        for language in ("xx", "yy", "zz")[: 1 + at % 3]
    ]
    return make_corpus(rows)


def make_plan(corpus: Corpus, *, batch_tokens: int = 512, source_weight: float = 1.0, seed: int = 1) -> BatchPlan:
    tokens = tokenize(corpus.texts, tokenizer=toy_tokenizer(), max_length=64)
    return BatchPlan(corpus, tokens=tokens, batch_tokens=batch_tokens, source_weight=source_weight, seed=seed)


def test_rows_are_grouped_by_source_and_texts_are_distinct() -> None:
    corpus = make_corpus(ROWS)
    assert list(corpus.sources) == ["the red dog", "a cat", "the bird"]
    assert len(corpus.texts) == len(set(corpus.texts)) == 6
    groups = {
        source: [corpus.texts[at] for at in corpus.members[corpus.offsets[g] : corpus.offsets[g + 1]]]
        for g, source in enumerate(corpus.sources)
    }
    assert groups == {
        "the red dog": ["xxdog xxred xxthe", "yydog yyred yythe"],
        "a cat": ["xxcat xxa", "the red dog"],
        "the bird": ["xxcat xxa"],
    }
    assert corpus.source_of_members.tolist() == [0, 0, 1, 1, 2]
    assert [corpus.place(member) for member in range(5)] == [f"toy.tsv:{line}" for line in (2, 4, 3, 5, 6)]


def test_the_fingerprint_is_of_the_pairs_and_their_order() -> None:
    original = make_corpus(ROWS).fingerprint()
    elsewhere = [Row(one.source, one.target, one.language, "other.tsv", 9) for one in ROWS]
    assert make_corpus(elsewhere).fingerprint() == original, "where the file lies does not matter"
    assert make_corpus(ROWS[:-1]).fingerprint() != original
    assert make_corpus([*ROWS[:-1], row("the bird", "xxcat xxa", "yy")]).fingerprint() != original
    assert make_corpus(ROWS[::-1]).fingerprint() != original


@pytest.mark.parametrize("kept", [1, 3, 7, 100])
def test_max_sources_spreads_over_the_rows(kept: int) -> None:
    rows = [row(f"source {at}", f"target {at} {language}", language) for at in range(20) for language in ("xx", "yy")]
    corpus, _ = gather(rows, max_sources=kept, rows_in_memory=7)
    numbers = [int(source.split()[1]) for source in corpus.sources]
    assert len(numbers) == min(kept, 20) and numbers == sorted(set(numbers))
    assert len(corpus.members) == 2 * len(numbers), "a source keeps all of its translations"
    if 1 < kept < 20:
        assert max(np.diff([*numbers, 20])) <= 20 / kept + 1


def test_every_entry_comes_exactly_once_an_epoch() -> None:
    corpus = mixed_corpus()
    plan = make_plan(corpus)
    for epoch in (0, 1, 5):
        entries = np.concatenate(plan.epoch(epoch))
        assert sorted(entries.tolist()) == list(range(corpus.source_count + len(corpus.members)))
    entries_E = np.arange(plan.size)
    source_E, text_E = plan.sources(entries_E), plan.texts(entries_E)
    assert text_E[: corpus.source_count].tolist() == list(range(corpus.source_count)), "each source is read once"
    assert text_E[corpus.source_count :].tolist() == corpus.members.tolist()
    assert source_E[corpus.source_count :].tolist() == corpus.source_of_members.tolist()


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    corpus = mixed_corpus()

    def order(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in make_plan(corpus, seed=seed).epoch(epoch)]

    first = order(1, 0)
    assert first == order(1, 0)
    assert len({str(found) for found in (first, order(1, 1), order(2, 0))}) == 3
    plan = make_plan(corpus)
    plan.epoch(3)
    assert [batch.tolist() for batch in plan.epoch(0)] == first, "what was asked before does not matter"
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    assert order(1, 0) == first, "nor do the generators of the process"


def test_batches_are_full_and_hardly_padded() -> None:
    plan = make_plan(mixed_corpus(), batch_tokens=1024)
    batches = [plan.batch(entries, device=CPU) for entries in plan.epoch(0)]
    sizes = [batch.ids_BT.numel() for batch in batches]
    assert max(sizes) <= 1024
    padding = 1 - sum(batch.tokens for batch in batches) / sum(sizes)
    assert padding < 0.05, padding
    assert np.mean(sizes) > 0.8 * 1024
    lengths = [batch.ids_BT.shape[1] for batch in batches]
    assert lengths != sorted(lengths) and lengths != sorted(lengths, reverse=True), "long ones do not come together"


def test_pools_keep_a_large_corpus_shuffled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "POOL_TEXTS", 100)
    corpus = mixed_corpus()
    batches = make_plan(corpus).epoch(0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(corpus.source_count + len(corpus.members)))


def test_sources_without_weight_are_not_read() -> None:
    corpus = make_corpus(ROWS)
    plan = make_plan(corpus, source_weight=0.0)
    (entries,) = plan.epoch(0)
    assert sorted(plan.texts(entries).tolist()) == sorted(corpus.members.tolist())
    assert plan.weight(entries) == 5.0
    assert set(plan.places(entries)) == {f"toy.tsv:{line}" for line in (2, 3, 4, 5, 6)}
    half = make_plan(corpus, source_weight=0.5)
    (entries,) = half.epoch(0)
    assert half.weight(entries) == 3 * 0.5 + 5.0


def test_a_batch_has_its_texts_groups_and_weights() -> None:
    corpus = make_corpus(ROWS)
    plan = make_plan(corpus, source_weight=0.25)
    # Two sources, and translations of the second and the third.
    entries = np.array([1, 0, 3 + 2, 3 + 4])
    batch = plan.batch(entries, device=CPU)
    tokenizer = toy_tokenizer()
    texts = ["a cat", "the red dog", "xxcat xxa", "xxcat xxa"]
    expected = tokenizer(texts, padding=True, return_tensors="pt")
    assert torch.equal(batch.ids_BT, expected["input_ids"])
    assert torch.equal(batch.mask_BT, expected["attention_mask"])
    assert batch.source_G.tolist() == [0, 1, 2]
    assert batch.group_B.tolist() == [1, 0, 1, 2], "the same text in two groups learns from two sources"
    assert batch.weight_B.tolist() == [0.25, 0.25, 1.0, 1.0]
    assert batch.tokens == int(expected["attention_mask"].sum()) == plan.tokens.lengths(plan.texts(entries)).sum()
    assert plan.places(entries) == ["toy.tsv:3", "toy.tsv:2", "toy.tsv:6"]


def test_steps_of_an_epoch() -> None:
    plan = make_plan(mixed_corpus())
    batches = len(plan.epoch(0))
    assert steps_in(plan, 0, batches_per_step=1) == batches
    assert steps_in(plan, 0, batches_per_step=4) == -(-batches // 4)


def test_one_text_may_be_longer_than_a_batch() -> None:
    lengths = np.array([3, 50, 4, 3])
    batches = batches_by_length(lengths, batch_tokens=8)
    assert [batch.tolist() for batch in batches] == [[1], [2, 0], [3]]
    assert batches_by_length(np.array([], dtype=np.int64), batch_tokens=8) == []


def test_token_tables_pad_with_the_tokenizer_s_id() -> None:
    table = TokenTable(ids=np.array([5, 6, 7, 8, 9, 10], dtype=np.int32), offsets=np.array([0, 1, 4, 6]), pad_id=1)
    assert len(table) == 3 and table.lengths_N.tolist() == [1, 3, 2]
    ids_BT, mask_BT = table.padded(np.array([2, 0, 1]), device=CPU)
    assert ids_BT.tolist() == [[9, 10, 1], [5, 1, 1], [6, 7, 8]]
    assert mask_BT.tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1]]
    assert ids_BT.dtype == mask_BT.dtype == torch.int64


def test_tokens_are_those_of_the_tokenizer() -> None:
    tokenizer, polled = toy_tokenizer(), []
    texts = [*toy_sentences(10), "", "the " * 40]
    table = tokenize(texts, tokenizer=tokenizer, max_length=20, poll=lambda: polled.append(1))
    for at, text in enumerate(texts):
        ids = tokenizer(text, truncation=True, max_length=20)["input_ids"]
        assert table.ids[table.offsets[at] : table.offsets[at + 1]].tolist() == ids
    assert table.pad_id == tokenizer.pad_token_id and polled == [1]
    assert len(tokenize([], tokenizer=tokenizer, max_length=20)) == 0
