"""A whole report of a task with labels: in words, on the screen, in pictures."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mlembed.report.bootstrap import Estimate
from mlembed.report.consistency import consistency
from mlembed.report.label_details import label_details, tag_details
from mlembed.report.label_plots import confusion_picture
from mlembed.report.labels import score_classes
from mlembed.report.plots import save_plots
from mlembed.report.regression import score_similarity
from mlembed.report.report import Report
from mlembed.report.tables import markdown, terminal_table
from mlembed.report.tags import score_tags

NAMES = ["alarm_set", "play|music", "weather", "never"]
# How much of the right label each system sees in the source language, and loses elsewhere.
SYSTEMS = {
    "majority": (0.0, 0.0),
    "tfidf": (2.5, 0.0),
    "teacher": (4.0, 3.0),
    "before": (4.0, 2.6),
    "after": (4.0, 0.8),
}
ROWS = 120


def _classes() -> Report:
    generator = np.random.default_rng(0)
    gold = generator.choice(3, ROWS, p=[0.6, 0.3, 0.1])
    systems: dict[str, dict[str, dict[str, Estimate]]] = {}
    details = {}
    for system, (sees, loses) in SYSTEMS.items():
        answers = {}
        systems[system] = {}
        for number, language in enumerate(("en", "de", "hi")):
            scores = generator.normal(size=(ROWS, 4)) + [3, 2, 1, -9]
            scores += (sees - number * loses) * np.eye(4)[gold] if system != "majority" else [9, 0, 0, 0]
            probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            systems[system][language] = score_classes(gold, probabilities)
            answers[language] = dict(enumerate(probabilities.argmax(axis=1).tolist()))
            if system == "after":
                details[language] = label_details(gold, probabilities.argmax(axis=1), NAMES)
        named = {key: {str(row): label for row, label in of.items()} for key, of in answers.items()}
        for language, estimate in consistency(named, source_language="en").items():
            systems[system][language]["consistency"] = estimate
    del systems["tfidf"]["hi"]
    labels = {"names": NAMES, "by_language": details}
    return Report(systems, test_set="360 unseen rows", metadata={"source_language": "en", "labels": labels})


def _tags() -> Report:
    gold = [["B-PER", "I-PER", "O"], ["O", "B-LOC"], ["O", "O"]] * 5
    systems = {
        "before": {"en": score_tags(gold, gold), "de": score_tags(gold, [["O"] * len(row) for row in gold])},
        "after": {"en": score_tags(gold, gold), "de": score_tags(gold, [gold[0], ["O", "B-PER"], gold[2]] * 5)},
    }
    details = {"de": tag_details(gold, [gold[0], ["O", "B-PER"], gold[2]] * 5)}
    return Report(
        systems, test_set="a test", metadata={"source_language": "en", "labels": {"names": [], "by_language": details}}
    )


def _screen(report: Report, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(terminal_table(report, width=width))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split(" |")]


def test_the_result_is_in_words_with_each_system() -> None:
    words = markdown(_classes()).splitlines()[2]
    assert words.startswith("On 360 unseen rows, the student after training scores **")
    assert "in macro F1 (x100), the mean of 2 languages; the weakest is **hi** with" in words
    found = [
        words.index(f"Against {system} (")
        for system in (
            "the zero-shot student",
            "the teacher on the foreign text",
            "TF-IDF on labels of that language",
            "always the most frequent label",
        )
    ]
    assert found == sorted(found)
    assert "over fewer languages" in markdown(_classes()) and "over fewer languages" not in markdown(_tags())


def test_chapters_are_those_of_the_task() -> None:
    chapters = [line for line in markdown(_classes()).splitlines() if line.startswith("## ")]
    assert chapters == [
        "## Classification",
        "## Gap to the source language",
        "## What the numbers mean",
        "## Rows tested",
        "## Labels by language",
    ]
    assert "## Tagging" in markdown(_tags()) and "## Classification" not in markdown(_tags())


def test_gap_is_the_source_minus_the_language_in_points() -> None:
    report = _classes()
    lines = markdown(report).splitlines()
    table = lines[lines.index("## Gap to the source language") + 4 :]
    assert _cells(table[0])[0].removeprefix("| ") == "language"
    rows = {_cells(line)[0]: _cells(line)[1:] for line in table[2:5]}
    assert list(rows) == ["de", "hi", "**mean**"]
    for column, system in enumerate(SYSTEMS):
        for language in ("de", "hi"):
            here, there = (report.estimate("macro_f1", key, system=system) for key in (language, "en"))
            expected = f"{100 * (there.value - here.value):.1f}" if here and there else "-"
            assert rows[language][column] == expected
    assert rows["hi"][1] == "-" and float(rows["hi"][-1]) > float(rows["de"][-1]) > 0
    without = Report(report.systems, test_set="x", metadata={"source_language": "fr"})
    assert "## Gap" not in markdown(without)


def test_each_label_is_listed_by_language() -> None:
    report = _classes()
    lines = markdown(report).splitlines()
    at = lines.index("### Labels, de")
    assert [line.split()[1] for line in lines[at + 4 : at + 7]] == ["alarm_set", "play\\|music", "weather"]
    de = report.metadata["labels"]["by_language"]["de"]["report"]
    shown = lines[at + 6].split()
    assert shown[3] == f"{100 * de['weather']['precision']:.1f}" and shown[-2] == str(de["weather"]["support"])
    assert f"{100 * de['accuracy']:.1f}" in lines[at + 7] and lines[at + 7].startswith("| accuracy")
    assert "never" not in lines
    tags = markdown(_tags())
    assert "| LOC " in tags and "| micro avg " in tags and "confusion" not in tags


def test_rows_with_labels_are_counted() -> None:
    assert _classes().rows() == {language: {"labelled": ROWS} for language in ("en", "de", "hi")}
    assert _tags().rows()["de"] == {"labelled": 15}
    pairs = score_similarity(np.arange(9.0), np.arange(9.0))
    report = Report({"after": {"de": pairs}}, test_set="x")
    assert report.rows() == {"de": {"labelled": 9}}
    text = markdown(report)
    assert "**100.0** in Spearman's correlation (x100)." in text and "## Similarity regression" in text
    assert "labelled" in text


def test_json_round_trip_keeps_labels() -> None:
    report = _classes()
    document = json.loads(report.to_json())
    assert list(document["metrics"]) == ["macro_f1", "micro_f1", "accuracy", "calibration_error", "consistency"]
    assert document["weakest"] == {"system": "after", "language": "hi", "metric": "macro_f1"}
    again = Report.from_json(report.to_json())
    assert again.to_json() == report.to_json() and markdown(again) == markdown(report)


def test_the_screen_has_the_main_metric_of_five_systems() -> None:
    lines = _screen(_classes())
    assert max(map(len, lines)) <= 80
    assert "macro F1, accuracy (x100)" in lines[0]
    assert lines[2].split() == ["lang", *list(SYSTEMS) * 2]
    weakest = next(line for line in lines if "hi *" in line).split()
    assert len(weakest) == 12 and weakest[3] == "-"
    assert "in report.md: consistency, calibration" in lines[-1]
    assert "span F1, precision, recall (x100)" in _screen(_tags())[0]


def test_pictures_are_linked_where_they_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    report = _classes()
    paths = save_plots(report, tmp_path)
    names = ["macro_f1.png", "macro_f1.svg", "confusion.png", "confusion.svg"]
    assert [path.name for path in paths] == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths if path.suffix == ".png")
    assert "](plots/confusion.png)" in markdown(report)
    assert ".png" not in markdown(report, links=False)
    assert [path.name for path in save_plots(_tags(), tmp_path)] == ["span_f1.png", "span_f1.svg"]
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert save_plots(report, tmp_path) == [] and ".png" not in markdown(report)


def test_a_picture_holds_many_labels_and_odd_names(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    generator = np.random.default_rng(0)
    names = [f"a_rather_long_name_of_${number}" for number in range(41)]
    gold = generator.integers(0, 41, 2000)
    answers = np.where(generator.random(2000) < 0.8, gold, generator.integers(0, 41, 2000))
    details = {"../x y": label_details(gold, answers, names)}
    metadata = {"labels": {"names": names, "by_language": details}}
    assert confusion_picture(metadata) == "confusion.png"
    scores = {"after": {"../x y": score_classes(gold, np.eye(41)[answers])}}
    save_plots(Report(scores, test_set="x", metadata=metadata), tmp_path)
    assert (tmp_path / "confusion.png").stat().st_size > 10_000
