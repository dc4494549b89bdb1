"""What is kept for the page: languages compared, a map of sentences, the hardest rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from labels import example
from test_held_out import WordModel, translated

from mlembed.data.examples import Answer, Example, ExampleSet, LabelSet
from mlembed.data.records import Row
from mlembed.errors import DataError
from mlembed.report.details import Details, short
from mlembed.report.hard_rows import hard_translations
from mlembed.report.sentence_map import choose_sentences, places, principal_axes
from mlembed.report.similarity import answer_similarity, language_similarity
from mlembed.tasks.answer_details import AnswerDetails
from mlembed.tasks.answering import Answering
from mlembed.tasks.classification import Classification
from mlembed.tasks.held_out import HeldOut
from mlembed.tasks.held_out_labels import LabelledSet
from mlembed.tasks.pair import PairScore
from mlembed.tasks.token_classification import TokenClassification
from mlembed.tasks.vector_details import VectorDetails


def test_languages_are_compared_by_what_they_share() -> None:
    generator = np.random.default_rng(0)
    english = {number: generator.normal(size=8) for number in range(10)}
    vectors = {
        "en": english,
        "same": dict(english),
        "opposite": {number: -vector for number, vector in english.items()},
        "few": {number: english[number] for number in range(4)},
    }
    found = language_similarity(vectors)
    assert (found["measure"], found["languages"]) == ("cosine", list(vectors))
    assert found["values"][1][0] == found["values"][0][1] == 1.0
    assert found["values"][2][1] == -1.0 and found["values"][2][2] == 1.0
    assert found["values"][3][0] is None, "four rows say nothing"
    assert abs(found["unrelated"]) < 0.5
    assert language_similarity({"en": english}) == {}


def test_languages_that_share_nothing_with_one_another_are_compared_with_the_source() -> None:
    source = {number: np.eye(3)[number % 3] for number in range(1000)}
    parts = {"a": range(0, 500), "b": range(500, 1000)}
    found = language_similarity({"en": source, **{key: {at: source[at] for at in part} for key, part in parts.items()}})
    assert found["values"] == [[1.0, 1.0, 1.0], [1.0, 1.0, None], [1.0, None, 1.0]]


def test_answers_agree_or_correlate() -> None:
    labels = {"en": {at: "ab"[at % 2] for at in range(8)}, "de": {at: "ab"[at % 2 if at < 6 else 0] for at in range(8)}}
    found = answer_similarity(labels)
    assert found["measure"] == "agreement" and found["values"][0][1] == 0.875
    scores = {"en": {at: float(at) for at in range(8)}, "de": {at: 2.0 * at for at in range(8)}}
    assert answer_similarity(scores)["values"][0][1] == 1.0 and answer_similarity(scores)["measure"] == "correlation"
    constant = answer_similarity({**scores, "de": dict.fromkeys(range(8), 1.0)})
    assert constant["values"][0][1] is None and constant["unrelated"] is None
    json.dumps(constant, allow_nan=False)


def test_sentences_show_languages_evenly() -> None:
    languages = {number: {"de"} for number in range(50)} | {"rare": {"hi"}, "both": {"de", "hi"}}
    chosen = choose_sentences(languages)
    assert len(chosen) == 12 and chosen[:2] == ["both", 0] and "rare" in chosen


def test_the_map_is_the_same_each_time_and_keeps_distances_that_count() -> None:
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(40, 6)) * [9, 5, 0.1, 0.1, 0.1, 0.1]
    axes = principal_axes(vectors)
    spots = np.array(places(vectors, axes))
    assert places(-vectors, principal_axes(vectors)) != spots.tolist()
    assert np.array_equal(places(vectors, principal_axes(vectors.copy())), spots)
    between = np.linalg.norm(vectors[0] - vectors[1]), np.linalg.norm(spots[0] - spots[1])
    assert between[0] == pytest.approx(between[1], rel=0.01)
    assert all(axes[1][np.abs(axes[1]).argmax(0), [0, 1]] > 0)


def test_the_hardest_translation_is_the_one_that_is_taken_for_another() -> None:
    source = np.eye(5)
    target = source.copy()
    target[3] = source[1] * 0.9 + source[3] * 0.1
    rows = hard_translations(
        "de", source_ND=source, target_ND=target, sources=list("abcde"), targets=[f"t{at}" for at in range(5)]
    )
    assert len(rows) == 3
    assert (rows[0]["text"], rows[0]["expected"], rows[0]["answer"], rows[0]["wrong"]) == ("t3", "d", "b", True)
    assert not rows[1]["wrong"]
    same = hard_translations("de", source_ND=source[:2], target_ND=source[:2], sources=["a", "a"], targets=["x", "y"])
    assert same == [], "the same source twice is nothing to be taken for"


def _held_out() -> HeldOut:
    sources = ["a b", "b c", "c d", "d a", "a c", "b d c", "d d a"]
    rows = [Row(one, translated(one, language), language, "x", 1) for one in sources for language in ("xx", "yy")]
    return HeldOut(name="toys", rows=rows)


def test_vectors_are_described_for_the_page() -> None:
    held_out, model = _held_out(), WordModel("xx", width=6)
    held_out.remember_teacher(model)
    shown = VectorDetails(held_out, source_language="en")
    vectors = held_out.read(model)
    asked = len(model.asked)
    details = shown.start().with_system("student", shown.of_system(vectors))
    rows = shown.hard_rows(vectors)
    assert len(model.asked) == asked, "nothing is encoded twice"
    similarity = details.similarities()["student"]
    assert similarity["languages"] == ["en", "xx", "yy"]
    assert similarity["values"][0][1] == 1.0 > similarity["values"][0][2]
    assert len(details.maps()["student"]) == len(details.sentences) == 3 * 7
    places_of = details.maps()["student"]
    spots = {(one["sentence"], one["language"]): spot for one, spot in zip(details.sentences, places_of, strict=True)}
    assert all(spots[at, "en"] == spots[at, "xx"] != spots[at, "yy"] for at in range(7))
    assert {row["language"] for row in rows} == {"xx", "yy"} and any(row["wrong"] for row in rows)
    assert Details.from_json(details.to_json()) == details


def test_a_set_without_parallel_text_or_with_one_dimension_is_described_as_far_as_it_goes() -> None:
    empty = VectorDetails(HeldOut(name="none"), source_language="en")
    assert empty.of_system(WordModel()) == {} and empty.hard_rows(WordModel()) == () and empty.start().sentences == ()
    held_out, model = _held_out(), WordModel("xx", width=1)
    assert "map" not in VectorDetails(held_out, source_language="en").of_system(held_out.read(model))


def _described(
    answering: Answering, rows: list[Example], probabilities: np.ndarray
) -> tuple[Details, list[dict[str, object]]]:
    held_out = LabelledSet(ExampleSet("toys", rows), answering, "en", 0)
    shown = AnswerDetails(held_out)
    details = shown.start().with_system("student", shown.of_system(probabilities))
    json.dumps([details.to_json(), shown.hard_rows(probabilities)], allow_nan=False)
    return details, [dict(row) for row in shown.hard_rows(probabilities)]


def _classification(*names: str, several: bool = False) -> Classification:
    options = {"train": (), "balanced_weights": False, "balanced_sampling": False, "smoothing": 0.0}
    return Classification(LabelSet(names), several=several, **options)  # type: ignore[arg-type]


def test_answers_with_labels_are_described_for_the_page() -> None:
    rows = [example(f"{one} {at}", "abc"[at % 3], language=one, id=str(at)) for one in ("en", "de") for at in range(6)]
    probabilities = np.eye(3)[[at % 3 for at in range(12)]] * 0.7 + 0.1
    probabilities[7] = [0.05, 0.0, 0.95]
    details, hard = _described(_classification("a", "b", "c"), rows, probabilities)
    assert details.similarities()["student"]["values"][0][1] == pytest.approx(5 / 6, abs=1e-4)
    assert len(details.sentences) == len(details.maps()["student"]) == 12
    assert hard == [
        {"language": "de", "text": "de 1", "expected": "b", "answer": "c", "score": 0.95, "wrong": True},
    ]


def test_answers_with_several_labels_tags_and_scores_have_hard_rows() -> None:
    answers: list[Answer] = [("a", "b"), ()]
    rows = [example(f"text {at}", answer) for at, answer in enumerate(answers)]
    _, hard = _described(_classification("a", "b", "c", several=True), rows, np.array([[0.9, 0.2, 0.1], [0.1] * 3]))
    assert [(row["expected"], row["answer"], row["score"]) for row in hard] == [("a, b", "a", 0.8)]
    tags = TokenClassification(LabelSet(("O", "B-PER", "I-PER")), smoothing=0.0)
    words = example(("Ada", "Lovelace", "wrote"), ("B-PER", "I-PER", "O"))
    _, hard = _described(tags, [words], np.eye(3)[[0, 1, 0]])
    assert hard[0]["text"] == "Ada Lovelace wrote" and hard[0]["score"] == 2.0
    assert (hard[0]["expected"], hard[0]["answer"]) == ("Ada Lovelace (PER)", "Lovelace (PER)")
    pair = example("one", 4.0, second="two")
    _, hard = _described(PairScore(low=0, high=5), [pair], np.array([[0.2]]))
    assert (hard[0]["text"], hard[0]["expected"], hard[0]["answer"]) == ("one / two", "4.00", "1.00")


def test_texts_are_kept_short_and_without_control_characters() -> None:
    assert short("a\x00b\nc") == "a b c"
    assert len(short("x" * 1000)) == 240


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "mlembed-details/1"}', '{"format": "other"}'])
def test_damaged_details_are_an_error_for_people(text: str) -> None:
    with pytest.raises(DataError, match="details"):
        Details.from_json(text)
