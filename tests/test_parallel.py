"""Files become rows: filtered for named reasons, everything counted, held-out sentences kept apart."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from gathering import drop_leaks, split_by_source

from mlembed.data.filters import REASONS, RowFilter, has_markup
from mlembed.data.parallel import MAX_EXAMPLES, ReadCounts, read_parallel, read_parallel_hub
from mlembed.data.readers import ReadOptions
from mlembed.data.records import Row
from mlembed.data.split import normalized_source
from mlembed.data.where import make_where
from mlembed.errors import DATA, ConfigError, DataError

OPTIONS = ReadOptions()


def tsv(folder: Path, *rows: str, name: str = "toy.tsv", header: str = "source|target|lang") -> str:
    """Write a table; "|" stands for a tab."""
    path = folder / name
    path.write_text("".join(row.replace("|", "\t") + "\n" for row in (header, *rows)))
    return str(path)


def assert_complete(counts: ReadCounts) -> None:
    """Nothing that was read is missing from the counts, and every reason is explained."""
    assert counts.read == counts.bad + sum(counts.filtered.values()) + counts.kept
    assert counts.kept == sum(counts.kept_by_language.values())
    assert set(counts.filtered) <= set(REASONS)


def test_rows_come_in_order_with_their_place_and_languages_as_the_user_wrote_them(tmp_path: Path) -> None:
    one = tsv(tmp_path, "a cat| eine Katze |DE", "a cat|un gato|pt_br", "a cat|en katt|sv", name="one.tsv")
    two = tsv(tmp_path, "a dog|ein Hund|de", name="two.tsv")
    found = read_parallel([one, two], options=ReadOptions(languages=("pt-BR", "de", "hi")))
    assert found.rows == [
        Row("a cat", "eine Katze", "de", one, 2),
        Row("a cat", "un gato", "pt-BR", one, 3),
        Row("a dog", "ein Hund", "de", two, 2),
    ]
    assert found.counts.kept_by_language == {"de": 2, "hi": 0, "pt-BR": 1}
    assert found.counts.filtered == {"language": 1}
    assert_complete(found.counts)


def test_languages_stay_as_the_file_has_them_if_all_are_wanted(tmp_path: Path) -> None:
    assert read_parallel([tsv(tmp_path, "a|b|pt_BR")], options=OPTIONS).rows[0].language == "pt_BR"


def test_each_filter_has_its_reason(tmp_path: Path) -> None:
    long = "long " * 20
    path = tsv(
        tmp_path,
        "this is kept here|bleibt|de",
        "this is kept here|これは残る|ja",
        "this is empty|  |de",
        "this is foreign|étranger|fr",
        "too short|zu kurz ist das hier|de",
        f"this is long|{long}|de",
        "this is same|this is same|de",
        "this is <b>bold</b>|fett|de",
        "this is kept here|bleibt|de",
    )
    filters = RowFilter(
        languages=("de", "ja"), min_words=3, max_chars=50, drop_identical=True, drop_markup=True, drop_duplicates=True
    )
    found = read_parallel([path], options=OPTIONS, filters=filters)
    assert [row.target for row in found.rows] == ["bleibt", "これは残る"]
    fields = ["empty", "language", "min_words", "max_chars", "drop_identical", "drop_markup", "drop_duplicates"]
    assert found.counts.filtered == dict.fromkeys(fields, 1)
    assert_complete(found.counts)
    again = read_parallel([path], options=OPTIONS, filters=filters)
    assert again.counts.filtered == found.counts.filtered, "duplicates are remembered within one reading only"
    everything = read_parallel([path], options=OPTIONS)
    assert everything.counts.filtered == {"empty": 1}


@pytest.mark.parametrize(
    "text",
    [
        "<b>x</b>",
        "<br/>",
        "a&nbsp;b",
        "${name} x",
        "$name",
        "{0} x",
        "{{x}}",
        "%(x)s",
        "%s",
        "%d files",
        "%1$s",
        "%.2f",
    ],
)
def test_markup_is_seen(text: str) -> None:
    assert has_markup(text)


@pytest.mark.parametrize(
    "text", ["100% sure", "%50 indirim", "5 < 6 > 4", "AT&T; well", "$5 off", "a & b;", "50%, so", "I <3 you"]
)
def test_plain_text_is_no_markup(text: str) -> None:
    assert not has_markup(text)


def test_rows_are_chosen_by_other_columns(tmp_path: Path) -> None:
    rows = ("a|b|de|news", "c|d|de|talks", "e||de|talks", "g|h|de|law")
    path = tsv(tmp_path, *rows, header="source|target|lang|domain")
    filters = RowFilter(where=make_where({"domain": ["news", "talks"]}))
    found = read_parallel([path], options=OPTIONS, filters=filters)
    assert [row.target for row in found.rows] == ["b", "d"]
    assert found.counts.filtered == {"where": 1, "empty": 1}
    assert_complete(found.counts)


BROKEN = ("good|gut|de", "broken", "fine|fein|de")


def test_a_bad_row_stops_with_its_place_and_the_way_out(tmp_path: Path) -> None:
    path = tsv(tmp_path, *BROKEN)
    with pytest.raises(DataError, match=r"data\.on_error=skip") as caught:
        read_parallel([path], options=OPTIONS)
    assert str(caught.value).startswith(f"{path}:3: 3 columns expected (source, target, lang), 1 column found")
    assert caught.value.exit_code == DATA == 3


def test_bad_rows_are_skipped_and_counted_if_asked(tmp_path: Path) -> None:
    path = tsv(tmp_path, *BROKEN, *["broken"] * 30)
    found = read_parallel([path], options=OPTIONS, on_error="skip")
    assert [row.target for row in found.rows] == ["gut", "fein"]
    assert found.counts.bad == 31
    assert len(found.counts.bad_examples) == MAX_EXAMPLES == 20
    assert found.counts.bad_examples[0].startswith(f"{path}:3: 3 columns expected")
    assert_complete(found.counts)


def test_bad_utf8_stops_or_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "toy.tsv"
    path.write_bytes(b"source\ttarget\tlang\r\na\t\xc3\tde\r\nb\tc\tde\r\n")
    with pytest.raises(DataError, match=r"toy\.tsv:2: not UTF-8"):
        read_parallel([str(path)], options=OPTIONS)
    found = read_parallel([str(path)], options=OPTIONS, on_error="skip")
    assert (found.counts.bad, [row.language for row in found.rows]) == (1, ["de"])


def test_columns_go_by_other_names(tmp_path: Path) -> None:
    path = tsv(tmp_path, "cat|Katze|x", header="english|german|note")
    columns = {"source": "english", "target": "german"}
    found = read_parallel([path], options=ReadOptions(languages=("de",)), columns=columns)
    assert [(row.source, row.target, row.language) for row in found.rows] == [("cat", "Katze", "de")]
    (tmp_path / "toy.en").write_text("dog\n")
    (tmp_path / "toy.de").write_text("Hund\n")
    found = read_parallel([path, str(tmp_path / "toy")], options=ReadOptions(languages=("de",)), columns=columns)
    assert [row.target for row in found.rows] == ["Katze", "Hund"], "formats with fixed columns are not renamed"


def test_a_missing_column_is_told_with_those_that_exist(tmp_path: Path) -> None:
    path = tsv(tmp_path, "cat|Katze|de", header="english|target|lang")
    match = r"toy\.tsv:2: no column 'source'.*here are: english, target, lang;.*data\.columns\.source=NAME"
    with pytest.raises(DataError, match=match):
        read_parallel([path], options=OPTIONS)
    good = tsv(tmp_path, "dog|Hund|de", name="good.tsv")
    found = read_parallel([path, good], options=OPTIONS, on_error="skip")
    assert (found.counts.bad, [row.target for row in found.rows]) == (1, ["Hund"])
    with pytest.raises(DataError, match=r"no row is left to use\. 1 read, 1 bad.*the first bad row: .*'source'"):
        read_parallel([path], options=OPTIONS, on_error="skip")


@pytest.mark.parametrize("languages", [None, ("de", "fr")])
def test_without_a_language_column_one_language_must_be_given(
    tmp_path: Path, languages: tuple[str, ...] | None
) -> None:
    path = tsv(tmp_path, "cat|Katze", header="source|target")
    with pytest.raises(
        DataError, match=r"toy\.tsv:2: no column 'lang'.*exactly one language \(data\.languages=\[de\]\)"
    ):
        read_parallel([path], options=ReadOptions(languages=languages))


def test_values_that_are_no_text_are_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "toy.jsonl"
    path.write_text(
        '{"source": "a", "target": 3, "lang": "de"}\n{"source": "a", "target": null, "lang": "de"}\n'
        '{"source": "a", "target": "b", "lang": ""}\n{"source": "a", "target": "b", "lang": "de"}\n'
    )
    found = read_parallel([str(path)], options=OPTIONS, on_error="skip")
    assert [row.line for row in found.rows] == [4]
    assert found.counts.bad_examples == [
        f"{path}:1: the column 'target' holds 3 (int) where a text is expected",
        f"{path}:3: the column 'lang' holds '' where a language code is expected",
    ]
    assert found.counts.filtered == {"empty": 1}


def test_no_rows_in_the_wanted_languages_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no row is left.*language 2; asked for hi, found de 1, fr 1"):
        read_parallel([tsv(tmp_path, "a|b|de", "a|b|fr")], options=ReadOptions(languages=("hi",)))


def test_what_readers_pass_over_is_counted_too(tmp_path: Path) -> None:
    path = tmp_path / "de.po"
    path.write_text('msgid ""\nmsgstr ""\n\nmsgid "Cat"\nmsgstr "Katze"\n\nmsgid "Dog"\nmsgstr ""\n')
    counts = read_parallel([str(path)], options=OPTIONS).counts
    assert (counts.read, counts.kept, counts.filtered) == (2, 1, {"untranslated": 1})
    assert_complete(counts)


def test_hub_data_become_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: en-de\n  data_files: de.csv\n- config_name: en-fr\n  data_files: fr.csv\n---\n"
    )
    (folder / "de.csv").write_text("english,other\ncat,Katze\n")
    (folder / "fr.csv").write_text("english,other\ncat,chat\n")
    found = read_parallel_hub(
        str(folder),
        subsets=["en-de", "en-fr"],
        split="train",
        options=OPTIONS,
        columns={"source": "english", "target": "other"},
    )
    assert [(row.target, row.language, row.line) for row in found.rows] == [("Katze", "de", 1), ("chat", "fr", 1)]
    assert_complete(found.counts)


# --- split ---


def rows_of(*sources: str) -> list[Row]:
    """Make rows in two languages for each source."""
    return [Row(source, f"{language} {source}", language, "toy", 1) for source in sources for language in ("de", "fr")]


def test_a_split_holds_out_whole_sources_whatever_the_order_of_rows() -> None:
    rows = rows_of(*(f"sentence number {n}" for n in range(50)))
    train, validation, test = split_by_source(rows, validation=5, test=7, seed=1)
    assert [len(part) for part in (train, validation, test)] == [76, 10, 14]
    assert {row.source for row in train}.isdisjoint({row.source for row in [*validation, *test]})
    assert {row.source for row in validation}.isdisjoint({row.source for row in test})
    shuffled = random.Random(3).sample(rows, len(rows))
    parts = split_by_source(shuffled, validation=5, test=7, seed=1)
    assert [set(part) for part in parts] == [set(train), set(validation), set(test)]
    assert set(split_by_source(rows, validation=9, test=7, seed=1)[2]) == set(test), "the test set stays"
    assert set(split_by_source(rows, validation=5, test=7, seed=2)[2]) != set(test)


def test_the_split_is_frozen() -> None:
    rows = rows_of(*(f"sentence number {n}" for n in range(10)))
    test = split_by_source(rows, validation=0, test=2, seed=1)[2]
    assert sorted({row.source for row in test}) == ["sentence number 4", "sentence number 5"]


def test_sources_that_differ_in_case_and_punctuation_only_fall_on_one_side() -> None:
    twins = ["Save the file {n}", "save the file, {n}!", "ＳＡＶＥ  the\u00a0file – {n}…"]
    rows = rows_of(*(twin.format(n=n) for n in range(20) for twin in twins))
    train, validation, test = split_by_source(rows, validation=5, test=5, seed=0)
    assert [len(part) for part in (train, validation, test)] == [60, 30, 30]
    sides = [{normalized_source(row.source) for row in part} for part in (train, validation, test)]
    assert sum(len(side) for side in sides) == len(set().union(*sides)) == 20


def test_normalization_keeps_the_vowel_signs_of_other_scripts() -> None:
    assert normalized_source("«किताब, पढ़ो।»") == normalized_source("किताब पढ़ो")
    assert normalized_source("कि") != normalized_source("का")


def test_a_split_needs_enough_sources() -> None:
    rows = rows_of("one", "One!", "two", "three")
    with pytest.raises(
        ConfigError, match=r"1 sources for validation and 2 for the test: there are 3 different sources"
    ):
        split_by_source(rows, validation=1, test=2, seed=0)
    with pytest.raises(ConfigError, match="negative"):
        split_by_source(rows, validation=-1, test=0, seed=0)


def test_leaks_are_dropped_and_counted() -> None:
    train = rows_of("Delete the file.", "Keep the file.")
    kept, dropped = drop_leaks(train, rows_of("delete  the file"))
    assert ({row.source for row in kept}, dropped) == ({"Keep the file."}, 2)
