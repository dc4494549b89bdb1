"""The corpus on disk: grouped in parts as in one piece, whole or not there, found again and never half believed."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gathering import gather, split_by_source

from mlembed.data import disk_texts
from mlembed.data.disk_texts import DiskTexts
from mlembed.data.gather import Division, make_corpus
from mlembed.data.records import Row
from mlembed.data.sample import even_quotas, sample_pairs
from mlembed.data.split import normalized_source
from mlembed.data.verified_folder import ABOUT, read_about, staging_folder
from mlembed.errors import ResourceError
from mlembed.prepare import load_splits

from test_prepare import data, pairs, write  # isort: skip


def many_rows(*, count: int = 3000, seed: int = 0) -> list[Row]:
    """Sources in several spellings and languages, far apart from their other translations, some rows twice."""
    draw = random.Random(seed)
    rows = []
    for line in range(count):
        number = draw.randrange(count // 4)
        source = draw.choice(["Sentence number {}", "sentence number {}!", "Sentence  number {}"]).format(number)
        language = draw.choices(["de", "fr", "hi"], weights=[6, 3, 1])[0]
        target = source if draw.random() < 0.02 else f"{language} {number} {draw.randrange(2)}"
        rows.append(Row(source, target, language, f"file {line % 3}.tsv", line))
    return rows


def grouped_in_memory(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.source, []).append(row)
    return groups


def held_out_in_memory(rows: Sequence[Row], *, validation: int, test: int, seed: int) -> list[list[Row]]:
    """The split as it was when all rows were in memory."""
    sources = {row.source: normalized_source(row.source) for row in rows}
    key = hashlib.blake2b(str(seed).encode()).digest()
    order = sorted(
        set(sources.values()), key=lambda text: hashlib.blake2b(text.encode(), key=key, digest_size=16).digest()
    )
    side = dict.fromkeys(order[:test], 2) | dict.fromkeys(order[test : test + validation], 1)
    parts: list[list[Row]] = [[], [], []]
    for row in rows:
        parts[side.get(sources[row.source], 0)].append(row)
    return parts


@pytest.mark.parametrize("rows_in_memory", [10_000, 1000, 37])
def test_rows_are_grouped_as_in_memory_whatever_the_number_of_parts(rows_in_memory: int) -> None:
    rows = many_rows()
    corpus, gathered = gather(rows, rows_in_memory=rows_in_memory)
    groups = grouped_in_memory(rows)
    assert list(corpus.sources) == list(groups), "in the order of their first rows"
    assert list(corpus.rows()) == [row for group in groups.values() for row in group]
    assert (gathered.rows, gathered.sources) == (len(rows), len(groups))
    ordered = [row for group in groups.values() for row in group]
    assert [corpus.place(at) for at in (0, 7, 2999)] == [
        f"{ordered[at].path}:{ordered[at].line}" for at in (0, 7, 2999)
    ]
    for number, language in enumerate(corpus.languages):
        start = corpus.counts_L[:number].sum()
        own = corpus.by_language[start : start + corpus.counts_L[number]]
        assert own.tolist() == [at for at, row in enumerate(ordered) if row.language == language]
    assert corpus.fingerprint() == make_corpus(rows).fingerprint()
    texts = list(corpus.texts)
    assert rows_in_memory < 10_000 or len(set(texts)) == len(texts), "a text stands there once"


@pytest.mark.parametrize("rows_in_memory", [10_000, 101])
def test_the_split_of_a_stream_is_the_split_of_all_rows(rows_in_memory: int) -> None:
    rows = many_rows()
    for seed, validation, test in ((1, 50, 70), (2, 0, 9), (3, 600, 40)):
        expected = held_out_in_memory(rows, validation=validation, test=test, seed=seed)
        division = Division(validation=validation, test=test, seed=seed)
        corpus, gathered = gather(rows, division, rows_in_memory=rows_in_memory)
        assert [gathered.validation, gathered.test] == expected[1:], "in the order of the rows, too"
        assert list(corpus.rows()) == [row for group in grouped_in_memory(expected[0]).values() for row in group]
    assert (
        split_by_source(rows, validation=3, test=3, seed=1)[2]
        == held_out_in_memory(rows, validation=3, test=3, seed=1)[2]
    )


@pytest.mark.parametrize("rows_in_memory", [10_000, 101])
def test_duplicates_leaks_and_a_limit_of_sources(rows_in_memory: int) -> None:
    rows = many_rows()
    forbidden = frozenset(f"sentence number {at}" for at in range(0, 700, 7))
    division = Division(validation=10, test=10, seed=0, min_words=3, drop_leaks=True, forbidden=forbidden)
    options: dict[str, Any] = {"drop_duplicates": True, "rows_in_memory": rows_in_memory}
    corpus, gathered = gather(rows, division, **options)
    distinct = list({(row.source, row.target, row.language): row for row in reversed(rows)}.values())[::-1]
    assert gathered.duplicates.total() == len(rows) - len(distinct) > 100
    assert gathered.leaks == sum(normalized_source(row.source) in forbidden for row in distinct) - sum(
        normalized_source(row.source) in forbidden for row in [*gathered.validation, *gathered.test]
    )
    total = len(distinct) - gathered.leaks - len(gathered.validation) - len(gathered.test)
    assert gathered.rows == len(corpus.members) == total
    sources = list(corpus.sources)
    assert not forbidden & {normalized_source(source) for source in sources}
    for limit in (1, 100, 333):
        part, _ = gather(rows, division, max_sources=limit, **options)
        assert list(part.sources) == [sources[at * len(sources) // limit] for at in range(limit)]


def test_texts_are_a_list_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_texts, "BATCH_TEXTS", 7)
    corpus, _ = gather(many_rows(count=200), rows_in_memory=64)
    texts = DiskTexts([corpus.folder / "sources.arrow", corpus.folder / "translations.arrow"])
    everything = list(texts)
    assert len(texts) == len(everything) > 100
    assert [texts[at] for at in range(len(texts))] == everything and texts[-1] == everything[-1]
    assert texts[5:40:3] == everything[5:40:3] and texts[3:3] == [] and texts[:] == everything
    wanted = np.array([90, 3, 3, 0, 55])
    assert texts[wanted] == [everything[at] for at in wanted] and texts[wanted[:0]] == []
    with pytest.raises(IndexError):
        texts[len(texts)]


def test_another_process_opens_the_same_files() -> None:
    corpus = make_corpus(many_rows(count=50))
    again = pickle.loads(pickle.dumps(corpus))
    assert again.folder == corpus.folder and list(again.texts) == list(corpus.texts)


def test_a_sample_is_even_over_the_languages() -> None:
    corpus = make_corpus(many_rows())
    texts, everything = sample_pairs(corpus, seed=1)
    assert texts == list(corpus.texts) and (everything == corpus.pairs()).all(), (
        "a corpus that is not large is taken whole"
    )
    texts, some = sample_pairs(corpus, seed=1, max_pairs=600)
    rows = {(row.source, row.target): row.language for row in corpus.rows()}
    languages = [rows[texts[source], texts[target]] for target, source in some]
    assert sorted(languages.count(language) for language in ("de", "fr", "hi")) == [200, 200, 200]
    assert (sample_pairs(corpus, seed=1, max_pairs=600)[1] == some).all()
    assert even_quotas(np.array([5, 1000, 40, 500]), total=100).tolist() == [5, 32, 31, 32]


# --- the folder ---


@pytest.fixture
def toy(tmp_path: Path) -> dict[str, Any]:
    train = write(tmp_path / "toy.tsv", pairs([f"sentence number {at}" for at in range(60)], "xx", "yy"))
    return {"train": train}


def folders(corpora: Path) -> list[str]:
    return [path.name for path in corpora.iterdir()]


def test_runs_with_the_same_rows_share_a_corpus(toy: dict[str, Any], tmp_path: Path) -> None:
    corpora = tmp_path / "corpora"
    first = load_splits(data(**toy), seed=1, corpora=corpora)
    again = load_splits(data(**toy), seed=1, corpora=corpora)
    assert folders(corpora) == [first.train.folder.name] == [again.train.folder.name]
    other = load_splits(data(**toy), seed=2, corpora=corpora)
    assert len(folders(corpora)) == 2 and other.train.fingerprint() != first.train.fingerprint()
    # The places of the rows are a part of it: messages name them.
    moved = tmp_path / "moved.tsv"
    Path(toy["train"]).rename(moved)
    elsewhere = load_splits(data(train=str(moved)), seed=1, corpora=corpora)
    assert elsewhere.train.place(0).startswith(str(moved)) and len(folders(corpora)) == 3
    assert elsewhere.train.fingerprint() == first.train.fingerprint()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "members.bin").write_bytes(b"\x07" + (folder / "members.bin").read_bytes()[1:]),
        lambda folder: os.truncate(folder / "translations.arrow", 1000),
        lambda folder: (folder / "offsets.bin").unlink(),
        lambda folder: (folder / ABOUT).write_text(
            (folder / ABOUT).read_text().replace('"sources": 3', '"sources": 4')
        ),
        lambda folder: (folder / ABOUT).write_text("[]"),
        lambda folder: (folder / ABOUT).unlink(),
    ],
)
def test_a_damaged_corpus_is_found_and_made_anew(toy: dict[str, Any], tmp_path: Path, damage: Any) -> None:
    corpora = tmp_path / "corpora"
    first = load_splits(data(**toy), seed=1, corpora=corpora)
    rows = list(first.train.rows())
    damage(first.train.folder)
    assert read_about(first.train.folder / ABOUT) is None
    again = load_splits(data(**toy), seed=1, corpora=corpora)
    assert again.train.folder == first.train.folder and list(again.train.rows()) == rows
    assert read_about(again.train.folder / ABOUT) is not None


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_prepare import data
from mlembed.data import corpus_writer
from mlembed.prepare import load_splits
corpus_writer.CorpusWriter.close = lambda self: os.kill(os.getpid(), signal.SIGKILL)
load_splits(data(train=sys.argv[2]), seed=1, corpora=Path(sys.argv[3]))
"""


def test_a_corpus_that_was_being_built_when_the_process_was_killed_is_not_used(
    toy: dict[str, Any], tmp_path: Path
) -> None:
    corpora = tmp_path / "corpora"
    arguments = [sys.executable, "-c", KILLED, str(Path(__file__).parent), toy["train"], str(corpora)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    (left,) = folders(corpora)
    assert left.startswith(".staging-")
    splits = load_splits(data(**toy), seed=1, corpora=corpora)
    assert folders(corpora) == [splits.train.folder.name], "and what it left is cleared away"


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    with staging_folder(tmp_path) as mine:
        with staging_folder(tmp_path) as other:
            assert mine.is_dir() and other.is_dir() and mine != other
        assert mine.is_dir() and not other.exists()


def test_a_cache_that_cannot_be_written_is_explained(toy: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"cannot be written to .*Free some space there.*MLEMBED_CACHE"):
        load_splits(data(**toy), seed=1, corpora=tmp_path / "file" / "corpora")


def test_languages_and_files_are_kept_by_name() -> None:
    rows = [
        Row("a b", f"t {at}", language, f"{at}.tsv", at + 2) for at, language in enumerate(["zh_Hant", "pt-BR", "de"])
    ]
    corpus = make_corpus(rows)
    assert corpus.counts() == {"sources": 1, "rows": 3, "languages": {"de": 1, "pt-BR": 1, "zh_Hant": 1}}
    assert list(corpus.rows()) == rows
    about = json.loads((corpus.folder / ABOUT).read_text())["about"]
    assert about["paths"] == ["0.tsv", "1.tsv", "2.tsv"]
