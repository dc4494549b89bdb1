"""Held-out sets: sentences, translations, scored pairs, and what a model scores on them."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mlembed.data.readers import ReadOptions
from mlembed.data.records import Row
from mlembed.data.scored import ScoredSet, is_scored, read_scored
from mlembed.data.where import Where, make_where
from mlembed.errors import DATA, DataError
from mlembed.tasks.held_out import HeldOut

OPTIONS = ReadOptions()
HEADER = "sentence1\tsentence2\tscore\tlang"
# The same four pairs in English and in two toy languages.
ENGLISH = [("a", "a b", 4.0), ("c", "d", 1.0), ("a c", "a d", 3.0), ("b", "c d", 0.0)]


def translated(text: str, language: str) -> str:
    return text if language == "en" else " ".join(f"{language}{word}" for word in text.split())


def scored_lines(*languages: str) -> list[str]:
    return [
        f"{translated(first, language)}\t{translated(second, language)}\t{score}\t{language}"
        for language in languages
        for first, second, score in ENGLISH
    ]


def write(path: Path, lines: Sequence[str], *, header: str = HEADER) -> str:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return str(path)


def read(*names: str, options: ReadOptions = OPTIONS, where: Where = Where()) -> ScoredSet:  # noqa: B008
    return read_scored(names, options=options, where=where, on_error="stop")[0]


class WordModel:
    """A model that adds up a fixed vector for each word; the words of known languages have those of English."""

    def __init__(self, *languages: str, width: int = 16) -> None:
        self.languages, self.width = languages, width
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked.append(list(texts))
        return np.array([sum(self.word(word) for word in text.split()) for text in texts], dtype=np.float32)

    def word(self, word: str) -> np.ndarray:
        known = next((word.removeprefix(language) for language in self.languages if word.startswith(language)), word)
        return np.random.default_rng([ord(letter) for letter in known]).standard_normal(self.width)


def test_scored_pairs_are_read_by_language(tmp_path: Path) -> None:
    name = write(tmp_path / "sts.tsv", scored_lines("en", "xx"))
    assert is_scored(name, options=OPTIONS)
    scored, counts = read_scored([name], options=OPTIONS, where=Where(), on_error="stop")
    assert list(scored.pairs) == ["en", "xx"]
    assert [(pair.first, pair.second, pair.score) for pair in scored.pairs["xx"]][:2] == [
        ("xxa", "xxa xxb", 4.0),
        ("xxc", "xxd", 1.0),
    ]
    assert (counts.read, counts.kept, counts.kept_by_language) == (8, 8, {"en": 4, "xx": 4})


def test_every_table_format_has_scored_pairs(tmp_path: Path) -> None:
    rows = [dict(zip(HEADER.split("\t"), line.split("\t"), strict=True)) for line in scored_lines("en")]
    rows = [row | {"score": float(row["score"])} for row in rows]
    jsonl, zipped = tmp_path / "sts.jsonl", tmp_path / "sts.csv.gz"
    jsonl.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with gzip.open(zipped, "wt") as file:
        file.write(HEADER.replace("\t", ",") + "\n" + "".join(",".join(map(str, row.values())) + "\n" for row in rows))
    for path in (jsonl, zipped):
        assert is_scored(str(path), options=OPTIONS)
        assert [pair.score for pair in read(str(path)).pairs["en"]] == [4.0, 1.0, 3.0, 0.0]
    both = read(str(jsonl), str(zipped))
    assert len(both.pairs["en"]) == 8


def test_parallel_text_is_not_scored(tmp_path: Path) -> None:
    assert not is_scored(write(tmp_path / "p.tsv", ["a\tb\tde"], header="source\ttarget\tlang"), options=OPTIONS)
    (tmp_path / "de.po").write_text('msgid "a"\nmsgstr "b"\n')
    assert not is_scored(str(tmp_path / "de.po"), options=OPTIONS)


def test_only_wanted_languages_and_the_source_are_kept(tmp_path: Path) -> None:
    name = write(tmp_path / "sts.tsv", scored_lines("en", "xx", "yy"))
    options = ReadOptions(languages=("yy",))
    scored, counts = read_scored([name], options=options, where=Where(), on_error="stop")
    assert set(scored.pairs) == {"en", "yy"} and counts.filtered == {"language": 4}
    with pytest.raises(DataError, match=r"no scored pair is left.*12 read.*language 12"):
        read(name, options=ReadOptions(languages=("zz",), source_language="qq"))


def test_rows_are_chosen_by_columns(tmp_path: Path) -> None:
    lines = [f"{line}\t{genre}" for line in scored_lines("en") for genre in ("news", "talk")]
    name = write(tmp_path / "sts.tsv", lines, header=f"{HEADER}\tgenre")
    assert len(read(name, where=make_where({"genre": "news"})).pairs["en"]) == 4
    assert len(read(name, where=make_where({"genre": ["news", "talk"]})).pairs["en"]) == 8
    assert len(read(name, where=make_where({"absent": "x"})).pairs["en"]) == 8


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a\tb\thigh\ten", "the score 'high' is not a number"),
        ("a\tb\tnan\ten", "the score 'nan' is not a number"),
        ("a\t \t1\ten", "the column 'sentence2' holds ' ' where a text is expected"),
        ("a\tb\t1\t", "the column 'lang' holds '' where"),
        ("a\tb\t1", "4 columns expected"),
    ],
)
def test_bad_scored_rows_are_named_or_counted(tmp_path: Path, line: str, problem: str) -> None:
    name = write(tmp_path / "sts.tsv", [*scored_lines("en"), line, "", "c\td\t2\ten"])
    with pytest.raises(DataError, match=r"sts\.tsv:6: ") as caught:
        read(name)
    assert problem in str(caught.value) and caught.value.exit_code == DATA
    scored, counts = read_scored([name], options=OPTIONS, where=Where(), on_error="skip")
    assert (len(scored.pairs["en"]), counts.kept, counts.bad) == (5, 5, 1)
    assert counts.filtered == {"blank_line": 1} and counts.read == 7
    assert problem in counts.bad_examples[0]


def test_a_null_is_no_sentence(tmp_path: Path) -> None:
    path = tmp_path / "sts.jsonl"
    good = {"sentence1": "a", "sentence2": "b", "score": 1, "lang": "en"}
    path.write_text(json.dumps(good) + "\n" + json.dumps(good | {"sentence1": None}) + "\n")
    with pytest.raises(DataError, match=r"sts\.jsonl:2: the column 'sentence1' holds None"):
        read(str(path))
    path.write_text(json.dumps({key: value for key, value in good.items() if key != "lang"}) + "\n")
    with pytest.raises(DataError, match=r"sts\.jsonl:1: no column 'lang'"):
        read(str(path))


def test_pairs_are_crossed_where_files_are_aligned(tmp_path: Path) -> None:
    scored = read(write(tmp_path / "sts.tsv", [*scored_lines("EN", "xx"), "yya\tyyb\t2\tyy"]))
    crossed = scored.crossed("xx")
    assert [(pair.first, pair.second, pair.score) for pair in crossed[:2]] == [
        ("ENa", "xxa xxb", 4.0),
        ("ENc", "xxd", 1.0),
    ], "EN is en"
    assert scored.crossed("EN") == [] and scored.crossed("yy") == []
    assert {row.source for row in scored.source_rows} >= {"ENa", "ENa ENb"}


ROWS = [
    Row(text, translated(text, language), language, "p.tsv", at)
    for at, text in enumerate(["a b", "c", "d a", "b d"])
    for language in ("xx", "yy")
]


def test_a_perfect_student_has_perfect_scores(tmp_path: Path) -> None:
    scored = read(write(tmp_path / "sts.tsv", scored_lines("en", "xx")))
    held_out = HeldOut("toy", ROWS, scored)
    assert held_out.languages == ["en", "xx", "yy"] and held_out.sources == ["a b", "c", "d a", "b d"]
    teacher = WordModel()
    held_out.remember_teacher(teacher)
    assert teacher.asked == [held_out.sources], "the teacher reads each source once"
    student = WordModel("xx", "yy")
    scores = held_out.measure(student, seed=1, resamples=20)
    assert len(student.asked) == 1 and len(student.asked[0]) == len(set(student.asked[0])), "each text is read once"
    parallel = {"retrieval", "retrieval_to_source", "retrieval_from_source", "margin_error", "cosine"}
    parallel |= {"unexplained_variance"}
    assert set(scores["yy"]) == parallel
    assert set(scores["xx"]) == parallel | {"sts", "sts_cross"}
    assert set(scores["en"]) == {"sts"}
    for language in ("xx", "yy"):
        assert scores[language]["retrieval"].value == 1.0
        assert scores[language]["cosine"].value == pytest.approx(1.0)
        assert scores[language]["unexplained_variance"].value == pytest.approx(0.0, abs=1e-9)
    assert scores["xx"]["sts"].value == scores["xx"]["sts_cross"].value == pytest.approx(scores["en"]["sts"].value)
    assert scores["xx"]["retrieval"].count == 4
    assert not math.isnan(scores["xx"]["sts"].low)


def test_a_student_that_knows_one_language_is_worse_in_the_other(tmp_path: Path) -> None:
    teacher = WordModel()
    pairs = [(first, second) for first in "abcd" for second in ("b c", "d e", "a e f")]
    first_ND, second_ND = teacher([first for first, _ in pairs]), teacher([second for _, second in pairs])
    lengths_N = np.linalg.norm(first_ND, axis=1) * np.linalg.norm(second_ND, axis=1)
    cosines = ((first_ND * second_ND).sum(axis=1) / lengths_N).tolist()
    lines = [
        f"{translated(first, language)}\t{translated(second, language)}\t{cosine}\t{language}"
        for language in ("en", "xx", "yy")
        for (first, second), cosine in zip(pairs, cosines, strict=True)
    ]
    held_out = HeldOut("toy", ROWS, read(write(tmp_path / "sts.tsv", lines)))
    held_out.remember_teacher(teacher)
    scores = held_out.measure(WordModel("xx"), seed=1, resamples=0)
    assert scores["xx"]["retrieval"].value == 1.0 > scores["yy"]["retrieval"].value
    assert scores["xx"]["cosine"].value > 0.99 > 0.7 > scores["yy"]["cosine"].value
    assert scores["xx"]["sts"].value == scores["xx"]["sts_cross"].value == pytest.approx(1.0)
    assert scores["yy"]["sts"].value < 0.8 > scores["yy"]["sts_cross"].value
    assert math.isnan(scores["xx"]["sts"].low), "no intervals were asked for"


def test_scores_do_not_need_a_teacher_of_the_same_width() -> None:
    held_out = HeldOut("toy", ROWS)
    alone = held_out.measure(WordModel("xx", "yy"), seed=1, resamples=0)
    assert "cosine" not in alone["xx"] and alone["xx"]["retrieval"].value == 1.0
    held_out.remember_teacher(WordModel(width=4))
    assert held_out.measure(WordModel("xx", "yy"), seed=1, resamples=0).keys() == alone.keys()
    assert "cosine" not in held_out.measure(WordModel("xx", "yy"), seed=1, resamples=0)["xx"]


def test_a_set_of_scored_pairs_alone(tmp_path: Path) -> None:
    held_out = HeldOut("sts", scored=read(write(tmp_path / "sts.tsv", scored_lines("en", "xx"))))
    held_out.remember_teacher(lambda texts: np.zeros((len(texts), 3)))
    scores = held_out.measure(WordModel("xx"), seed=1, resamples=0)
    assert {language: set(found) for language, found in scores.items()} == {"en": {"sts"}, "xx": {"sts", "sts_cross"}}
