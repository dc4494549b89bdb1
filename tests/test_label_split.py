"""Which labelled rows are held out, left out, or learnt from."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from labels import example, texts

from mlembed.data.examples import Example
from mlembed.data.label_split import drop_leaks, drop_repeats, few_shot, labelled_in, normalized_text, split_off
from mlembed.errors import ConfigError


def rows(language: str, count: int, *, labels: str = "xxxy", id: bool = False) -> list[Example]:
    """Different texts, or translations of one another with ids."""
    return [
        example(f"text {n} {language}", labels[n % len(labels)], language=language, id=f"{n}" if id else None)
        for n in range(count)
    ]


def of(language: str, examples: list[Example]) -> list[Example]:
    return [one for one in examples if one.language == language]


def test_each_language_has_its_share_with_the_labels_in_proportion() -> None:
    examples = [*rows("en", 400), *rows("de", 40), *rows("sw", 6, labels="x")]
    left, held_out = split_off(examples, size=20, seed=1)
    assert len(left) + len(held_out) == len(examples) and not set(texts(left)) & set(texts(held_out))
    assert Counter((one.language, one.answer) for one in held_out) == {
        ("en", "x"): 15,
        ("en", "y"): 5,
        ("de", "x"): 10,  # a third of 40, not 20
        ("de", "y"): 3,
        ("sw", "x"): 2,
    }
    assert [one for one in examples if one in held_out] == held_out, "they come in the order of the examples"


def test_the_choice_depends_on_the_seed_alone() -> None:
    examples = [*rows("en", 60), *rows("de", 60)]
    held_out = split_off(examples, size=10, seed=1)[1]
    mixed = random.Random(0).sample(examples, len(examples))
    assert set(split_off(mixed, size=10, seed=1)[1]) == set(held_out)
    assert set(split_off(examples, size=10, seed=2)[1]) != set(held_out)
    alone = split_off(of("de", examples), size=10, seed=1)[1]
    assert alone == of("de", held_out), "other languages do not matter"


def test_translations_stay_together() -> None:
    examples = [*rows("en", 90, id=True), *rows("de", 90, id=True), *rows("fr", 30, id=True), *rows("ja", 90)]
    left, held_out = split_off(examples, size=20, seed=3)
    ids = {one.id for one in held_out if one.id}
    assert ids and not ids & {one.id for one in left}
    counts = Counter(one.language for one in held_out)
    assert counts["ja"] == 20 and counts["fr"] <= 10 and 15 <= counts["de"] <= 20
    assert counts["en"] == counts["de"]


def test_texts_that_look_the_same_stay_together() -> None:
    examples = [example(f"Text {n}{end}") for n in range(30) for end in ("", "!", " ?")]
    left, held_out = split_off(examples, size=10, seed=0)
    assert len(held_out) == 9, "a part of a group would make it 10"
    assert not {normalized_text(one) for one in held_out} & {normalized_text(one) for one in left}


def test_where_proportions_do_not_fit_the_groups_the_number_is_reached() -> None:
    examples = [example(f"text {n}{end}", "xy"[n % 2]) for n in range(30) for end in ("", "!")]
    held_out = split_off(examples, size=10, seed=0)[1]
    assert sorted(Counter(one.answer for one in held_out).values()) == [4, 6], "5 and 5 are no whole groups of 2"


def test_a_group_may_be_chained_by_ids_and_texts() -> None:
    chained = [example("a", id="1"), example("A!", id="2", language="de"), example("b", id="2", language="fr")]
    others = [*rows("en", 9), *rows("de", 9), *rows("fr", 9)]
    for seed in range(8):
        held_out = split_off([*chained, *others], size=3, seed=seed)[1]
        assert len([one for one in held_out if one in chained]) in (0, 3)


def test_training_keeps_a_row_of_each_label() -> None:
    examples = [
        *rows("en", 60, labels="x"),
        example("rare one", "z"),
        example("seldom 1", "w"),
        example("seldom 2", "w"),
    ]
    for seed in range(10):
        left, held_out = split_off(examples, size=20, seed=seed)
        assert {one.answer for one in left} == {"x", "z", "w"}
        assert len(held_out) == 20
    examples = [*rows("en", 6, labels="x"), *(example(f"only {n}", f"label {n}") for n in range(6))]
    held_out = split_off(examples, size=4, seed=0)[1]
    assert [one.answer for one in held_out] == ["x"] * 3, "at most half of the rows with a label"


def test_several_labels_and_tags_are_held_out_by_the_rarest() -> None:
    several = [example(f"text {n}", ("a", "b") if n % 4 == 0 else ("a",)) for n in range(40)]
    held_out = split_off(several, size=12, seed=0)[1]
    assert Counter(one.answer for one in held_out) == {("a",): 9, ("a", "b"): 3}
    tagged = [example((f"w{n}", "b"), ("B-X", "O") if n % 4 == 0 else ("O", "O")) for n in range(40)]
    held_out = split_off(tagged, size=12, seed=0)[1]
    assert Counter(one.answer for one in held_out) == {("O", "O"): 9, ("B-X", "O"): 3}


def test_pairs_with_scores_are_held_out() -> None:
    pairs = [example(f"text {n}", n / 2, second=f"other {n}") for n in range(30)]
    left, held_out = split_off(pairs, size=7, seed=0)
    assert (len(left), len(held_out)) == (23, 7)


def test_languages_that_are_not_trained_on_may_be_held_out_whole() -> None:
    examples = [*rows("en", 30), *rows("de", 12), *rows("fr", 40)]
    held_out = split_off(examples, size=20, seed=0, trained=["EN"])[1]
    assert Counter(one.language for one in held_out) == {"en": 10, "de": 12, "fr": 20}


def test_nothing_to_hold_out_is_refused() -> None:
    assert split_off(rows("en", 2), size=0, seed=0) == (rows("en", 2), [])
    with pytest.raises(ConfigError) as caught:
        split_off(rows("en", 2), size=5, seed=0, part="validation")
    assert str(caught.value) == (
        "data.validation_size=5: of 2 labelled rows none can be held out (at most a third of each language that is "
        "trained on); name a file with data.validation=PATH, or give more data"
    )
    with pytest.raises(ConfigError, match=r"data\.test_size=5: of 2 labelled rows all would be held out"):
        split_off(rows("de", 2), size=5, seed=0, trained=["en"])


def test_training_does_not_see_what_is_held_out() -> None:
    train = [
        example("A cat!"),
        example("a dog"),
        example("a cat", language="de"),
        example(("A", "cat", "."), ("O",) * 3),
    ]
    kept, left_out = drop_leaks(train, [example("a cat")])
    assert (texts(kept), left_out) == (["a dog"], {"en": 2, "de": 1})
    pairs = [example("a", 1.0, second="b"), example("a", 1.0, second="c")]
    assert drop_leaks(pairs, [example("A", 0.0, second="B.")])[0] == pairs[1:], "both texts count"
    assert drop_leaks([example("!!!")], [example("???")])[0], "punctuation alone is not all the same"


def test_rows_that_repeat_are_left_out() -> None:
    examples = [
        example("a", "x"),
        example("a", "y"),
        example("a", "x", line=9),
        example("a", "x", language="de"),
        example("a", "x", second="b"),
        example("a", "x", line=10),
    ]
    kept, left_out = drop_repeats(examples)
    assert kept == [*examples[:2], *examples[3:5]]
    assert left_out == {"en": 2}


def test_few_rows_of_each_label_of_the_other_languages() -> None:
    examples = [*rows("en", 20), *rows("de", 20), *rows("fr", 3)]
    kept, left_out = few_shot(examples, per_label=2, seed=0, source_language="EN")
    counts = Counter((one.language, one.answer) for one in kept)
    assert counts == {("en", "x"): 15, ("en", "y"): 5, ("de", "x"): 2, ("de", "y"): 2, ("fr", "x"): 2}
    assert left_out == {"de": 16, "fr": 1}
    assert kept == [one for one in examples if one in kept]
    assert of("de", kept) != of("de", few_shot(examples, per_label=2, seed=1, source_language="en")[0])
    assert of("en", few_shot(examples, per_label=0, seed=0, source_language="en")[0]) == of("en", examples)


def test_few_rows_in_all_where_answers_are_tags_or_scores() -> None:
    tagged = [example((f"w{n}", "b"), ("B-X", "O"), language="de") for n in range(9)]
    assert len(few_shot(tagged, per_label=3, seed=0, source_language="en")[0]) == 3
    scored = [example(f"t{n}", float(n), second="b", language="de") for n in range(9)]
    assert len(few_shot(scored, per_label=3, seed=0, source_language="en")[0]) == 3
    several = [example(f"t{n}", ("a", "b") if n % 2 else ("a",), language="de") for n in range(20)]
    kept = few_shot(several, per_label=3, seed=0, source_language="en")[0]
    assert sum("a" in one.labels for one in kept) == 3


def test_labels_are_learnt_from_some_languages() -> None:
    examples = [*rows("en", 2), *rows("de", 3), *rows("pt_BR", 1)]
    kept, left_out = labelled_in(examples, ["en", "pt-br"])
    assert (Counter(one.language for one in kept), left_out) == ({"en": 2, "pt_BR": 1}, {"de": 3})
    assert labelled_in(examples, None) == (examples, {})
    with pytest.raises(ConfigError) as caught:
        labelled_in(examples, ["fr"])
    assert str(caught.value) == (
        "data.labelled_languages=[fr]: no training row is in such a language; those that are there: de, en, pt_BR"
    )
