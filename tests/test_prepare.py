"""From the data section of a configuration to training rows and held-out sets that share no sentence."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from toys import LANGUAGES, toy_sentences, translate, write_toy_data

from mlembed.config_data import FilesData, HubData
from mlembed.data.split import normalized_source
from mlembed.errors import DATA, USAGE, ConfigError, DataError
from mlembed.prepare import Splits, load_splits, load_test
from mlembed.tasks.held_out import HeldOut

STS_HEADER = "sentence1\tsentence2\tscore\tlang"


def data(kind: str = "files", **changes: Any) -> FilesData | HubData:
    """The configuration's own defaults, with some keys changed."""
    settings = yaml.safe_load((files("mlembed.conf") / "data" / f"{kind}.yaml").read_text(encoding="utf-8"))
    changes["columns"] = settings["columns"] | changes.get("columns", {})
    settings |= {"validation_size": 10, "test_size": 12, "held_out_min_words": 1} | changes
    return (FilesData if settings["kind"] == "files" else HubData).model_validate(settings)


def write(path: Path, lines: list[str], *, header: str = "source\ttarget\tlang") -> str:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return str(path)


def pairs(sentences: list[str], *languages: str) -> list[str]:
    return [f"{text}\t{translate(text, language)}\t{language}" for text in sentences for language in languages]


def sources(part: HeldOut | Splits) -> set[str]:
    rows = part.train.rows() if isinstance(part, Splits) else part.rows
    return {normalized_source(row.source) for row in rows}


def assert_apart(splits: Splits) -> None:
    assert not sources(splits) & (sources(splits.validation) | sources(splits.test))


@pytest.fixture
def toy(tmp_path: Path) -> str:
    return str(write_toy_data(tmp_path / "toy.tsv", count=100))


def test_what_is_not_given_is_split_off(toy: str) -> None:
    splits = load_splits(data(train=toy), seed=1)
    assert [len(sources(part)) for part in (splits, splits.validation, splits.test)] == [78, 10, 12]
    assert_apart(splits)
    assert not sources(splits.validation) & sources(splits.test)
    for part in (splits.validation, splits.test):
        assert part.languages == list(LANGUAGES) and len(part.rows) == 2 * len(sources(part))
    used = splits.counts["used"]
    assert used["train"] == {"sources": 78, "rows": 156, "languages": {"xx": 78, "yy": 78}}
    assert used["leaks_dropped"] == 0 and splits.counts["train"]["read"] == 200
    assert (splits.validation.name, splits.test.name) == (
        "10 validation sources split off",
        "12 test sources split off",
    )


def test_the_seed_decides_what_is_split_off(toy: str) -> None:
    first, again, other = (load_splits(data(train=toy), seed=seed) for seed in (1, 1, 2))
    assert first.test.rows == again.test.rows and list(first.train.rows()) == list(again.train.rows())
    assert sources(first.test) != sources(other.test)
    assert load_test(data(train=toy), seed=1)[0].rows == first.test.rows, "eval finds the test set of the run"


def test_given_files_are_taken_and_their_sentences_leave_the_training_data(toy: str, tmp_path: Path) -> None:
    known = toy_sentences(100)
    validation = write(tmp_path / "validation.tsv", pairs([known[0], "a new sentence"], "xx"))
    test = write(tmp_path / "test.tsv", pairs([known[1].upper() + "!", known[2]], "xx", "yy"))
    splits = load_splits(data(train=toy, validation=validation, test=[test]), seed=1)
    assert [len(part.rows) for part in (splits.validation, splits.test)] == [2, 4]
    assert len(sources(splits)) == 97
    assert_apart(splits)
    assert splits.counts["used"]["leaks_dropped"] == 6, "also where case and punctuation differ"
    assert (splits.validation.name, splits.test.name) == (validation, test)
    kept = load_splits(data(train=toy, validation=validation, test=test, drop_leaks=False), seed=1)
    assert len(sources(kept)) == 100 and kept.counts["used"]["leaks_dropped"] == 0


def test_one_of_them_may_be_given(toy: str, tmp_path: Path) -> None:
    test = write(tmp_path / "test.tsv", pairs(["a new sentence"], "xx"))
    splits = load_splits(data(train=toy, test=test), seed=1)
    assert [len(sources(part)) for part in (splits, splits.validation, splits.test)] == [90, 10, 1]
    assert_apart(splits)


def test_held_out_files_are_measured_as_they_are(toy: str, tmp_path: Path) -> None:
    """Filters choose what is learnt from, not what is measured; only empty rows and other languages are left out."""
    rows = ["short\tkurz\txx", "same same\tsame same\txx", f"long\t{'x' * 3000}\txx", "<b>bold\tfett\txx", "e\t\txx"]
    test = write(tmp_path / "test.tsv", [*rows, "other\tanders\tzz"])
    strict = {"min_words": 3, "drop_markup": True, "max_chars": 100, "languages": ["xx"]}
    splits = load_splits(data(train=toy, test=test, **strict), seed=1)
    assert [row.source for row in splits.test.rows] == ["short", "same same", "long", "<b>bold"]
    assert splits.counts["test"]["filtered"] == {"empty": 1, "language": 1}
    assert splits.counts["train"]["filtered"]["language"] == 100


def test_sentences_for_the_tests_may_be_longer_ones(tmp_path: Path) -> None:
    sentences = [f"{'word ' * (1 + at % 6)}{at}" for at in range(60)]
    train = write(tmp_path / "toy.tsv", pairs(sentences, "xx"))
    splits = load_splits(data(train=train, held_out_min_words=5), seed=1)
    assert min(len(row.source.split()) for row in [*splits.test.rows, *splits.validation.rows]) == 5
    train_rows = list(splits.train.rows())
    assert len(train_rows) == 38 and min(len(row.source.split()) for row in train_rows) == 2


def test_rows_are_chosen_by_a_column_also_in_scored_files(tmp_path: Path) -> None:
    lines = [f"{line}\t{'news' if at % 2 else 'talk'}" for at, line in enumerate(pairs(toy_sentences(80), "xx"))]
    train = write(tmp_path / "toy.tsv", lines, header="source\ttarget\tlang\tgenre")
    scores = [f"s{at} a\ts{at} b\t{at}\txx\t{'news' if at % 2 else 'talk'}" for at in range(10)]
    sts = write(tmp_path / "sts.tsv", scores, header=f"{STS_HEADER}\tgenre")
    splits = load_splits(data(train=train, test=sts, where={"genre": "news"}), seed=1)
    assert splits.counts["train"]["filtered"]["where"] == splits.counts["train"]["kept"] == 40
    assert splits.test.scored is not None and len(splits.test.scored.pairs["xx"]) == 5
    assert splits.counts["test_scored"]["filtered"] == {"where": 5}
    everything = load_splits(data(train=train, test=sts, where={"genre": ["news", "talk"]}), seed=1)
    assert everything.counts["train"]["kept"] == 80


def test_a_file_of_scored_pairs_is_a_test_beside_sentences_that_are_split_off(toy: str, tmp_path: Path) -> None:
    leaked = toy_sentences(100)[5]
    sts = write(tmp_path / "sts.tsv", [f"{leaked}\tb\t1\ten", "xa\txb\t1\txx"], header=STS_HEADER)
    splits = load_splits(data(train=toy, test=sts, languages=["xx"]), seed=1)
    assert len(sources(splits.test)) == 12 and splits.test.scored is not None
    assert set(splits.test.scored.pairs) == {"en", "xx"}
    assert splits.test.name == f"12 test sources split off and {sts}"
    assert normalized_source(leaked) not in sources(splits), "its English sentences are not trained on"
    again, _ = load_test(data(train=toy, test=sts, languages=["xx"]), seed=1)
    assert again.rows == splits.test.rows and again.scored == splits.test.scored, "eval finds the test set of the run"
    alone, _ = load_test(data(train=None, test=sts, languages=["xx"]), seed=1)
    assert not alone.rows and alone.scored == splits.test.scored


def test_parallel_and_scored_files_together(toy: str, tmp_path: Path) -> None:
    test = write(tmp_path / "test.tsv", pairs(["a new sentence"], "xx"))
    sts = write(tmp_path / "sts.tsv", ["a\tb\t1\txx", "c\td\t2\txx"], header=STS_HEADER)
    splits = load_splits(data(train=toy, test=[sts, test]), seed=1)
    assert [row.source for row in splits.test.rows] == ["a new sentence"]
    assert splits.test.scored is not None and len(splits.test.scored.pairs["xx"]) == 2
    assert splits.test.name == f"{sts}, {test}"
    assert splits.counts["test"]["kept"] == 1 and splits.counts["test_scored"]["kept"] == 2


def test_data_sets_of_the_hub_have_splits(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for split, first in (("train", 0), ("test", 90)):
        sentences = toy_sentences(100)[first : 95 if split == "train" else 100]
        write(
            folder / f"{split}.csv",
            [line.replace("\t", ",") for line in pairs(sentences, "xx")],
            header="source,target,lang",
        )
    splits = load_splits(data("hub", name=str(folder), test_split="test"), seed=1)
    assert splits.test.name == f"{folder} test" and len(splits.test.rows) == 10
    assert len(sources(splits.validation)) == 10 and splits.counts["used"]["leaks_dropped"] > 0
    assert_apart(splits)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"train": "{toy}", "test": "{toy}"}, ConfigError, "no training row is left"),
        ({"train": "{toy}", "test_size": 95}, ConfigError, "cannot hold out 10 .* and 95 .* 100 different sources"),
        ({"train": "{toy}", "validation": "absent.tsv"}, DataError, r"absent\.tsv: no such file"),
        ({"train": "{toy}", "languages": ["zz"]}, DataError, "no row is left to use.*asked for zz, found"),
        ({"train": "{toy}", "columns": {"source": "english", "target": "t", "lang": "l"}}, DataError, r"toy\.tsv:2: "),
    ],
)
def test_what_cannot_be_prepared(toy: str, changes: dict[str, Any], kind: type[Exception], message: str) -> None:
    given = {key: value.replace("{toy}", toy) if isinstance(value, str) else value for key, value in changes.items()}
    with pytest.raises(kind, match=message) as caught:
        load_splits(data(**given), seed=1)
    assert getattr(caught.value, "exit_code", None) == (DATA if kind is DataError else USAGE)


def test_a_test_needs_data() -> None:
    with pytest.raises(ConfigError, match=r"data\.test: no test data is given; write data\.test=PATH"):
        load_test(data(train=None), seed=1)
