"""Sets of examples, the labels that are learnt, tags and words."""

from __future__ import annotations

import pytest
from labels import example, texts

from mlembed.data.examples import ExampleSet, LabelSet
from mlembed.data.tags import all_tags, kind_of, normalized_tags, tag_problem
from mlembed.data.words import split_words
from mlembed.errors import DataError


def test_a_set_knows_its_languages() -> None:
    toys = ExampleSet("toys", [example("a", language="en"), example("b", language="de"), example("c", language="en")])
    assert toys.languages == ["de", "en"]
    assert toys.by_language() == {"de": [1], "en": [0, 2]}


def test_the_fingerprint_is_of_what_is_read_not_of_where_it_lies() -> None:
    def fingerprint(*examples: object) -> str:
        return ExampleSet("toys", list(examples)).fingerprint()  # type: ignore[arg-type]

    one, two = example("a"), example("b")
    assert fingerprint(one, two) == fingerprint(example("a", line=9), two)
    others = [
        fingerprint(two, one),
        fingerprint(one),
        fingerprint(example("a", "other"), two),
        fingerprint(example("a", language="de"), two),
        fingerprint(example("a", second="c"), two),
        fingerprint(example("a", id="1"), two),
    ]
    assert len({fingerprint(one, two), *others}) == 7


def test_labels_are_sorted_and_numbered() -> None:
    labels = LabelSet.of([example("a", "y"), example("b", "x"), example("c", "y")], shape="text")
    assert labels.names == ("x", "y")
    assert [labels.number(name) for name in labels.names] == [0, 1]
    assert LabelSet.of([example("a", ("y", "x")), example("b", ("z",)), example("c", ())], shape="text").names == (
        "x",
        "y",
        "z",
    )
    assert LabelSet.of([example("a", 1.5)], shape="pair").names == ()


def test_outside_is_number_0_and_each_kind_has_both_tags() -> None:
    examples = [example(("a", "b"), ("O", "B-PER")), example(("a", "b"), ("B-LOC", "I-LOC"))]
    assert LabelSet.of(examples, shape="tokens").names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert all_tags([]) == ("O",)


def test_labels_that_training_does_not_have_are_named() -> None:
    labels = LabelSet(("geography", "sports"))
    labels.check([example("a", "sports")], what="the test set")
    test = [
        example("a", "geografy", line=4),
        example("b", "sports"),
        example("c", "geografy"),
        example("d", "zzz", line=7),
    ]
    with pytest.raises(DataError) as caught:
        labels.check(test, what="the test set")
    assert str(caught.value) == (
        "toy.tsv:4: the test set has labels that the training data do not have: 'geografy' in 2 rows, first toy.tsv:4, "
        "nearest known label 'geography'; 'zzz' in 1 row, first toy.tsv:7, nearest known label 'sports'. Correct them, "
        "or use data.on_error=skip to leave such rows out (they are counted as unseen_label)"
    )


def test_many_unknown_labels_are_named_in_part() -> None:
    with pytest.raises(DataError, match=r"; and 3 more\. Correct them"):
        LabelSet(("x",)).check([example("a", f"label {number}") for number in range(23)], what="the test set")


def test_rows_with_unknown_labels_can_be_left_out() -> None:
    labels = LabelSet(("x", "y"))
    rows = [
        example("a", "x"),
        example("b", "z", language="de"),
        example("c", ("x", "z"), language="de"),
        example("d", ("x", "y")),
        example("e", None),
        example("f", ("O", "B-X")),
    ]
    kept, left_out = labels.known(rows)
    assert texts(kept) == ["a", "d", "e"]
    assert left_out == {"de": 2, "en": 1}


def test_tags_are_normalized_within_a_text_only() -> None:
    assert normalized_tags(("I-X", "O", "I-X", "I-Y", "I-Y")) == ("B-X", "O", "B-X", "B-Y", "I-Y")
    assert normalized_tags(()) == ()
    assert (kind_of("O"), kind_of("B-PER"), kind_of("I-PER")) == (None, "PER", "PER")


@pytest.mark.parametrize("tag", ["S-X", "E-X", "L-X", "U-X", "PER", "B-", "I", "o", "-"])
def test_other_tags_have_a_problem(tag: str) -> None:
    assert repr(tag) in (tag_problem(tag) or "")
    assert tag_problem("O") is tag_problem("B-X") is tag_problem("I-é") is None


@pytest.mark.parametrize(
    "text, words",
    [
        ("Anna's cat, 3.5 kg!", ["Anna", "'", "s", "cat", ",", "3", ".", "5", "kg", "!"]),
        ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया", "।"]),
        ("東京へ、行く。", ["東京へ", "、", "行く", "。"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("cafe\u0301 \t\n au", ["cafe\u0301", "au"]),
        ("", []),
    ],
)
def test_words_and_where_they_stand(text: str, words: list[str]) -> None:
    found = split_words(text)
    assert [word for word, _, _ in found] == words
    assert all(text[start:end] == word for word, start, end in found)
