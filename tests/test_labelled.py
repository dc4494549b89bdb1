"""Files become labelled examples, in every shape and with every kind of answer, and what is wrong is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labels import example, found, lines, table, texts

from mlembed.data.examples import Example
from mlembed.data.readers import ReadOptions
from mlembed.data.where import make_where
from mlembed.errors import DATA, DataError

ONE_LABEL: dict[str, Any] = {"shape": "text", "answers": "label"}
SEVERAL: dict[str, Any] = {"shape": "text", "answers": "labels"}
TAGS: dict[str, Any] = {"shape": "tokens", "answers": "tags"}
SCORED: dict[str, Any] = {"shape": "pair", "answers": "score"}


def refused(*names: str, **given: Any) -> str:
    with pytest.raises(DataError) as caught:
        found(*names, **given)
    assert caught.value.exit_code == DATA
    return str(caught.value)


def test_texts_with_one_label(tmp_path: Path) -> None:
    path = table(tmp_path, "text,label,lang,id", " a cat , animal,en,1", "eine Katze,animal,DE,1", "un gato,animal,es,")
    examples, counts = found(path, **ONE_LABEL, options=ReadOptions(languages=("de", "hi")))
    assert examples == [
        Example("a cat", None, "animal", "en", "1", path, 2),
        Example("eine Katze", None, "animal", "de", "1", path, 3),
    ]
    assert examples[0].place == f"{path}:2"
    assert counts.filtered == {"language": 1}
    assert counts.kept_by_language == {"de": 1, "en": 1, "hi": 0}, "the source language is always read"
    assert found(path, **ONE_LABEL)[0][2].id is None


def test_columns_go_by_the_names_of_the_user(tmp_path: Path) -> None:
    path = table(tmp_path, "sentence,topic,code", "a cat,animal,en")
    columns = {"text": "sentence", "label": "topic", "lang": "code"}
    assert found(path, **ONE_LABEL, columns=columns)[0] == [Example("a cat", None, "animal", "en", None, path, 2)]


def test_rows_are_chosen_by_column_and_length(tmp_path: Path) -> None:
    path = table(tmp_path, "text,label,lang,split", "a,x,en,train", "b,x,en,dev", "c" * 9 + ",x,en,train")
    examples, counts = found(path, **ONE_LABEL, where=make_where({"split": "train"}), max_chars=8)
    assert texts(examples) == ["a"]
    assert counts.filtered == {"where": 1, "max_chars": 1}
    pair = table(tmp_path, "text,text_b,score,lang", "a,b,1,en", f"a,{'b' * 9},1,en")
    assert found(pair, **SCORED, max_chars=8)[1].filtered == {"max_chars": 1}
    words = table(tmp_path, "tokens,tags,lang", "a b,O O,en", "aaaa bbbb,O O,en")
    assert found(words, **TAGS, max_chars=8)[1].filtered == {"max_chars": 1}


def test_several_labels_in_tables_and_lists(tmp_path: Path) -> None:
    path = table(tmp_path, "text,label,lang", "a,x | b,en", "b,x,en", "c,,en", "d,x;y,en")
    assert [one.answer for one in found(path, **SEVERAL)[0]] == [("b", "x"), ("x",), (), ("x;y",)]
    assert found(path, **SEVERAL, separator=";")[0][3].answer == ("x", "y")
    path = lines(
        tmp_path, '{"text": "a", "label": ["y", "x", "y"], "lang": "en"}', '{"text": "b", "label": [], "lang": "en"}'
    )
    assert [one.answer for one in found(path, **SEVERAL)[0]] == [("x", "y"), ()]


def test_labels_that_are_numbers_are_texts(tmp_path: Path) -> None:
    rows = [json.dumps({"text": "a", "label": label, "lang": "en"}) for label in (1, True, "2")]
    assert [one.answer for one in found(lines(tmp_path, *rows), **ONE_LABEL)[0]] == ["1", "true", "2"]
    rows = [json.dumps({"text": "a", "label": 1.5, "lang": "en"})]
    assert "holds 1.5 (float) where a label is expected" in refused(lines(tmp_path, *rows), **ONE_LABEL)


def test_words_and_tags_in_tables_and_lists(tmp_path: Path) -> None:
    expected = [(("Anna", "Ek", "sings"), ("B-PER", "I-PER", "O"))]
    path = table(tmp_path, "tokens,tags,lang", "Anna Ek sings,B-PER I-PER O,en")
    assert [(one.text, one.answer) for one in found(path, **TAGS)[0]] == expected
    row = {"tokens": ["Anna", "Ek", "sings"], "tags": ["B-PER", "I-PER", "O"], "lang": "en"}
    assert [(one.text, one.answer) for one in found(lines(tmp_path, json.dumps(row)), **TAGS)[0]] == expected
    parquet = tmp_path / "toy.parquet"
    pq.write_table(pa.table({key: [value] for key, value in row.items()}), parquet)
    assert [(one.text, one.answer) for one in found(str(parquet), **TAGS)[0]] == expected


def test_a_name_begins_with_b(tmp_path: Path) -> None:
    """IOB1 and stray insides become BIO."""
    path = table(tmp_path, "tokens,tags,lang", "a b c d e,I-X I-X B-X I-Y O,en", "a b c,O I-X I-X,en")
    answers = [one.answer for one in found(path, **TAGS)[0]]
    assert answers == [("B-X", "I-X", "B-X", "B-Y", "O"), ("O", "B-X", "I-X")]


@pytest.mark.parametrize(
    "row, problem",
    [
        ("a b,O,en", "there are 2 words and 1 tags; each word has one tag"),
        ("a  b,O O O,en", "number 2 of the column 'tokens' is empty; there is one space between two of them"),
        ("a b,B-X E-X,en", "the tag 'E-X' is of another scheme (IOBES or BILOU); tags are O, B-NAME"),
        ("a b,O PER,en", "the tag 'PER' is not known; tags are O, B-NAME for the first word of a name"),
        (" ,O,en", "the column 'tokens' is empty where a list of texts"),
    ],
)
def test_bad_tags_are_told(row: str, problem: str, tmp_path: Path) -> None:
    path = table(tmp_path, "tokens,tags,lang", "a,O,en", row)
    message = refused(path, **TAGS)
    assert message.startswith(f"{path}:3: {problem}")
    assert message.endswith("Correct it, or use data.on_error=skip to count and skip such rows")
    examples, counts = found(path, **TAGS, on_error="skip")
    assert (len(examples), counts.bad) == (1, 1)
    assert counts.bad_examples[0].startswith(f"{path}:3: {problem}")


def test_tags_that_are_numbers_are_refused(tmp_path: Path) -> None:
    path = lines(tmp_path, '{"tokens": ["a"], "tags": [3], "lang": "en"}')
    assert "number 1 of the column 'tags' is 3, which is not a text" in refused(path, **TAGS)


def test_pairs_with_scores_and_labels(tmp_path: Path) -> None:
    path = table(tmp_path, "text,text_b,score,label,lang", "a, b ,4.5,same,en")
    assert found(path, **SCORED)[0] == [Example("a", "b", 4.5, "en", None, path, 2)]
    assert found(path, shape="pair", answers="label")[0] == [Example("a", "b", "same", "en", None, path, 2)]


def test_files_of_sentence_similarity_need_no_settings(tmp_path: Path) -> None:
    path = table(tmp_path, "sentence1,sentence2,score,lang", "a,b,0,en", "c,d,x,en")
    examples, counts = found(path, **SCORED, on_error="skip")
    assert examples == [Example("a", "b", 0.0, "en", None, path, 2)]
    assert counts.bad_examples == [f"{path}:3: the score 'x' is not a number"]
    path = table(tmp_path, "sentence1,sentence2,text,text_b,score,lang", "a,b,c,d,0,en")
    assert texts(found(path, **SCORED)[0]) == ["c"], "the columns that are named count first"


def test_without_answers_labels_may_be_missing(tmp_path: Path) -> None:
    for shape, header, row, text in [
        ("text", "text,lang", "a cat,en", "a cat"),
        ("tokens", "tokens,lang", "a cat,en", ("a", "cat")),
        ("tokens", "text,lang", "It's Anna.,en", ("It", "'", "s", "Anna", ".")),
        ("text", "text,label,lang", "a cat,,en", "a cat"),
    ]:
        path = table(tmp_path, header, row)
        examples, _ = found(path, shape=shape, answers="none")
        assert examples == [Example(text, None, None, "en", None, path, 2)]
    path = table(tmp_path, "text,text_b,lang", "a,b,en")
    assert found(path, shape="pair", answers="none")[0][0].second == "b"
    assert "no column 'tokens' for the words" in refused(table(tmp_path, "text,tags,lang", "a,O,en"), **TAGS)


def test_a_file_without_languages_is_in_the_only_one(tmp_path: Path) -> None:
    path = table(tmp_path, "text,label", "eine Katze,animal")
    only = ReadOptions(source_language="de", languages=("de",))
    assert found(path, **ONE_LABEL, options=only)[0][0].language == "de"
    for options in (ReadOptions(), ReadOptions(languages=("de",))):
        message = refused(path, **ONE_LABEL, options=options)
        assert message.startswith(
            f"{path}:2: no column 'lang' that tells the language; the columns here are: text, label"
        )
        assert "data.source_language=de data.languages=[de]" in message and "data.columns.lang=NAME" in message


@pytest.mark.parametrize(
    "header, row, problem",
    [
        ("text,label,lang", " ,animal,en", "the column 'text' is empty where a text is expected"),
        ("text,label,lang", "a, ,en", "the column 'label' is empty where a label is expected"),
        ("text,label,lang", "a,animal, ", "the column 'lang' holds ' ' where a language code is expected"),
        (
            "words,label,lang",
            "a,animal,en",
            "no column 'text' for the text; the columns here are: words, label, lang; name the right one with"
            " data.columns.text=NAME",
        ),
        (
            "text,topic,lang",
            "a,animal,en",
            "no column 'label' for the label; the columns here are: text, topic, lang; name the right one with"
            " data.columns.label=NAME",
        ),
    ],
)
def test_bad_rows_are_told(header: str, row: str, problem: str, tmp_path: Path) -> None:
    path = table(tmp_path, header, row)
    advice = "Correct it, or use data.on_error=skip to count and skip such rows"
    assert refused(path, **ONE_LABEL) == f"{path}:2: {problem}. {advice}"


def test_a_row_in_another_language_need_not_be_right(tmp_path: Path) -> None:
    path = table(tmp_path, "text,label,lang", "a,x,en", ",,sv")
    assert found(path, **ONE_LABEL, options=ReadOptions(languages=("de",)))[1].filtered == {"language": 1}


def test_a_damaged_row_is_counted(tmp_path: Path) -> None:
    path = table(tmp_path, "text,label,lang", "a,x", "b,y,en")
    examples, counts = found(path, **ONE_LABEL, on_error="skip")
    assert (texts(examples), counts.bad) == (["b"], 1)
    assert counts.bad_examples[0].startswith(f"{path}:2: 3 columns expected (text, label, lang), 2 columns found")


def test_that_nothing_is_left_is_explained(tmp_path: Path) -> None:
    path = table(tmp_path, "text,label,lang", "a,x,sv", ",x,de")
    message = refused(path, **ONE_LABEL, options=ReadOptions(languages=("de",)), on_error="skip")
    assert message == (
        f"{path}: no example is left to use. 2 read, 1 bad; filtered: language 1; asked for de, en, found sv 1; "
        f"the first bad row: {path}:3: the column 'text' is empty where a text is expected"
    )


def test_parallel_text_has_no_labels(tmp_path: Path) -> None:
    for code in ("en", "de"):
        (tmp_path / f"toy.{code}").write_text("a\n")
    message = refused(str(tmp_path / "toy"), **ONE_LABEL)
    assert message.endswith("Moses holds translations without labels; use TSV, CSV, JSONL or Parquet")


def test_examples_know_their_labels() -> None:
    assert example("a", "x").labels == ("x",)
    assert example("a", ("x", "y")).labels == ("x", "y")
    assert example("a", 1.5).labels == example("a", None).labels == ()
