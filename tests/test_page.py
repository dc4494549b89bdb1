"""The page of a report: self-contained, escaped, bounded, the same each time, and made in spite of what is missing."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_label_report import _classes, _tags
from test_report import _report

from mlembed.cli import main
from mlembed.report.bootstrap import Estimate
from mlembed.report.details import Details
from mlembed.report.label_details import label_details
from mlembed.report.page.contents import Contents
from mlembed.report.page.curves import MOST_POINTS, smoothed, thinned, ticks, training_curves
from mlembed.report.page.page import render
from mlembed.report.page.story import duration, names, tell
from mlembed.report.report import Report
from mlembed.report.verdict import find_verdict
from mlembed.run.page import make_page, read_contents, write_page

HOSTILE = '</style><script>alert("x")</script><img src=x onerror=alert(1)>&{{ 7 * 7 }}'
# All that a page is made of; none of these fetches or runs anything.
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "nav", "h1", "h2", "h3"),
    *("p", "b", "a", "small", "code", "span", "div", "ul", "ol", "li", "dl", "dt", "dd", "details", "summary"),
    *("table", "thead", "tbody", "tfoot", "tr", "th", "td", "svg", "g", "rect", "line", "circle", "path", "text"),
}
RECORDS: list[dict[str, Any]] = [
    {"step": 0, "evaluation": {"retrieval": 0.5, "cosine": float("nan")}, "best_step": None},
    *({"step": step, "loss": 1 / step, "lr": 1e-4} for step in range(1, 30)),
    {"step": 29, "evaluation": {"retrieval": 0.9, "cosine": 0.7}, "best_step": 29},
]


class Seen(HTMLParser):
    """What a browser would see: tags, attributes, and the text that is not style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words += data if self.tags and self.tags[-1] != "style" else ""


def _details(*, languages: tuple[str, ...] = ("en", "de", "hi"), text: str = "a text", label: str = "b") -> Details:
    values = [[1.0 if row == column else 0.5 for column in languages] for row in languages]
    one = {
        "similarity": {"measure": "cosine", "languages": list(languages), "values": values, "unrelated": 0.1},
        "map": [[float(at), float(at % 3)] for at in range(2 * len(languages))],
    }
    sentences = tuple({"sentence": at, "language": key, "text": text} for at in (0, 1) for key in languages)
    rows = tuple(
        {"language": key, "text": text, "expected": "a", "answer": label, "score": 0.9, "wrong": True}
        for key in languages[1:]
    )
    return Details("en", sentences, {"before": one, "after": one}, rows)


def _contents(report: Report, **more: Any) -> Contents:
    return Contents(name="toy", report=dataclasses.replace(report, details=_details()), **more)


def _full() -> Contents:
    config = {"task": {"kind": "embedding"}, "model": {"kind": "copy"}, "loss": {"kind": "mse"}, "seed": 3}
    return _contents(_report(), config=config, command="mlembed train", training={"the student": RECORDS})


def test_a_page_needs_nothing_else() -> None:
    page = render(_full())
    seen = Seen(page)
    assert set(seen.tags) <= TAGS
    given = dict.fromkeys(name for name, _ in seen.attributes)
    assert not [
        name for name in given if name in ("src", "srcset", "style", "action", "xlink:href") or name[:2] == "on"
    ]
    assert all(str(value).startswith("#") for name, value in seen.attributes if name == "href")
    assert "//" not in page and "url(" not in page and "@import" not in page
    (style,) = re.findall(r"<style>(.*?)</style>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = [value for name, value in seen.attributes if name == "content" and "default-src" in str(value)]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_a_page_has_all_its_parts() -> None:
    seen = Seen(render(_full()))
    anchors = {value for name, value in seen.attributes if name == "id"}
    assert anchors == {"asked", "verdict", "bars", "tables", "curves", "similarity", "map", "hard", "data"}
    assert {f"#{anchor}" for anchor in anchors} == {value for name, value in seen.attributes if name == "href"}
    assert "Teach a student (a copy of the teacher) to understand 3 languages (de, hi, zh_Hant)" in seen.words
    assert "mlembed train" in seen.words and "Learning rate" in seen.words
    labels = Seen(render(_contents(_classes())))
    assert {"labels", "confusion", "hard"} <= {value for name, value in labels.attributes if name == "id"}
    assert "confusion" not in {value for name, value in Seen(render(_contents(_tags()))).attributes if name == "id"}


def test_a_page_is_the_same_each_time() -> None:
    assert render(_full()) == render(_full())


def test_texts_are_text_whatever_they_hold() -> None:
    scores = {"before": {HOSTILE: {"macro_f1": Estimate(0.5, 0.4, 0.6, 9)}}}
    scores["after"] = scores["before"]
    details = {HOSTILE: label_details(np.array([0, 1, 1]), np.array([0, 0, 1]), [HOSTILE, "b"])}
    metadata = {"labels": {"names": [HOSTILE, "b"], "by_language": details}, "teacher": HOSTILE, "precision": HOSTILE}
    shown = _details(languages=("en", HOSTILE), text=HOSTILE, label=HOSTILE)
    report = Report(scores, test_set=HOSTILE, metadata=metadata, details=shown)
    config = {"task": {"kind": HOSTILE}, "loss": {"kind": HOSTILE}, "data": {"source_language": HOSTILE}}
    page = render(Contents(HOSTILE, report, config, HOSTILE, {HOSTILE: RECORDS}))
    seen = Seen(page)
    assert set(seen.tags) <= TAGS and not [name for name, _ in seen.attributes if name.startswith("on")]
    assert seen.words.count('</style><script>alert("x")</script>') >= 10 and page.count("<script") == 0
    assert "{{ 7 * 7 }}" in seen.words


def test_the_size_of_a_page_is_bounded() -> None:
    names_of_labels = [f"label {at}" for at in range(150)]
    gold, answers = np.random.default_rng(0).integers(0, 150, (2, 5000))
    one = label_details(gold, answers, names_of_labels)
    languages = [f"l{at}" for at in range(100)]
    scores = {language: {"macro_f1": Estimate(0.5, 0.4, 0.6, 9)} for language in languages}
    metadata = {"labels": {"names": names_of_labels, "by_language": dict.fromkeys(languages, one)}}
    details = _details(languages=("en", *languages[:59]))
    rows = tuple({**details.hard_rows[0], "language": key} for key in languages for _ in range(3))
    report = Report(
        {"after": scores}, test_set="x", metadata=metadata, details=dataclasses.replace(details, hard_rows=rows)
    )
    records = [{"step": at, "loss": 1.0 + at % 7, "lr": 0.1} for at in range(30_000)]
    page = render(Contents("large", report, training={"the student": records}))
    assert len(page) < 12_000_000
    assert page.count("<li>") == 36 + 2, "hard rows, and sentences of the map"
    assert page.count("<summary>") == 1 + 13 + 1


def test_the_verdict_is_honest() -> None:
    def scored(**values: float) -> dict[str, dict[str, Estimate]]:
        return {key: {"retrieval": Estimate(one, one - 0.05, one + 0.05, 99)} for key, one in values.items()}

    old = scored(de=0.5, hi=0.5)
    new = {"improved": (0.9, 0.55), "within noise": (0.55, 0.45), "worse": (0.5, 0.1), "mixed": (0.9, 0.1)}
    for word, (de, hi) in new.items():
        report = Report({"teacher": old, "after": scored(de=de, hi=hi)}, test_set="ten rows")
        verdict = find_verdict(report, "retrieval", "teacher")
        assert verdict is not None and verdict.word == word
        story = tell(Contents("toy", report))
        assert story.cards[0].word.startswith(word) and story.weakest[0][0] == "hi"
        assert (" in 1 of 2" in story.cards[0].word) == (word in ("improved", "worse"))
    assert "It lost in hi." in story.came_out
    other = Report({"teacher": scored(fr=0.5), "after": scored(de=0.5)}, test_set="x")
    assert find_verdict(other, "retrieval", "teacher") is None and tell(Contents("toy", other)).cards == []
    beaten = Report({"tfidf": scored(de=0.9), "before": scored(de=0.1), "after": scored(de=0.5)}, test_set="x")
    assert "worse than TF-IDF" in tell(Contents("toy", beaten)).came_out


def test_a_report_without_scores_has_a_page() -> None:
    words = Seen(render(Contents("empty", Report({"student": {}}, test_set="no rows")))).words
    assert "Nothing was measured on no rows." in words


def test_a_broken_part_leaves_the_others(caplog: pytest.LogCaptureFixture) -> None:
    broken = Details("en", ({"language": "de"},), {"after": {"similarity": {"languages": 3}, "map": [[0, 0]]}}, ({},))
    page = render(Contents("toy", dataclasses.replace(_report(), details=broken)))
    assert "<table>" in page and 'id="similarity"' not in page and 'id="hard"' not in page
    assert caplog.text.count("a part of the page was left out") == 3


def _write(folder: Path, report: Report) -> Path:
    (folder / "report.json").write_text(report.to_json(), encoding="utf-8")
    return folder


def test_a_page_is_made_again_from_the_folder_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # pictures take time, and have a test of their own
    _write(tmp_path, _report())
    assert main(["report", str(tmp_path)]) == 0
    assert str(tmp_path / "report.html") in capsys.readouterr().err
    alone = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="similarity"' not in alone and 'id="curves"' not in alone
    (tmp_path / "details.json").write_text(_details().to_json(), encoding="utf-8")
    lines = [json.dumps(record) for record in RECORDS]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, "[]", '{"step": 30, "lo']), encoding="utf-8")
    (tmp_path / "config.json").write_text('{"seed": 77}', encoding="utf-8")
    (tmp_path / "command.txt").write_text(
        "cd /x && mlembed train\ncd /x && mlembed train --resume y\n", encoding="utf-8"
    )
    contents = read_contents(tmp_path)
    assert contents.command == "mlembed train --resume y" and contents.asked("seed") == 77
    assert contents.asked("trainer", "epochs") is None and len(contents.training["the student"]) == len(RECORDS)
    assert main(["report", str(tmp_path)]) == 0
    full = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="similarity"' in full and 'id="curves"' in full
    assert main(["report", str(tmp_path / "none")]) == 2
    assert "give the folder of a finished run" in capsys.readouterr().err


def test_pictures_are_never_worth_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, _report())
    pytest.importorskip("matplotlib")
    (tmp_path / "plots").write_text("in the way", encoding="utf-8")
    write_page(tmp_path)
    assert "the plots in" in caplog.text and (tmp_path / "report.html").is_file()
    (tmp_path / "plots").unlink()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    make_page(tmp_path)
    assert not (tmp_path / "plots").exists() and "<table>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "report.json").write_text("{}", encoding="utf-8")
    write_page(tmp_path)
    assert "was not made" in caplog.text


def test_pictures_are_those_of_the_page(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    _write(tmp_path, _report())
    (tmp_path / "details.json").write_text(_details().to_json(), encoding="utf-8")
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, RECORDS)), encoding="utf-8")
    make_page(tmp_path)
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()}
    assert set(drawn) == {
        f"{name}.{kind}" for name in ("retrieval", "curves", "similarity", "map") for kind in ("png", "svg")
    }
    make_page(tmp_path)
    assert all((tmp_path / "plots" / name).read_bytes() == drawn[name] for name in drawn if name.endswith("svg"))


def test_curves_are_thinned_and_smoothed_without_bias() -> None:
    points = [(float(at), 2.0) for at in range(10_000)]
    assert len(thinned(points)) == MOST_POINTS and thinned(points)[-1][0] == 9999
    assert {round(value, 9) for _, value in smoothed(points)} == {2.0}
    assert ticks(0, 1) == [0, 0.5, 1.0] and ticks(3, 3) == [3]
    curves = training_curves(RECORDS)
    assert curves[0].title == "Training loss" and curves[-1].title == "Learning rate"
    assert curves[1].best == 29 and len(curves[2].lines[0].points) == 1, "a value that is no number is not drawn"
    assert training_curves([]) == []


def test_words_and_times_are_those_of_people() -> None:
    assert names(["de", "fr"]) == "de, fr" and names([f"l{at}" for at in range(40)]).endswith("l9 and 30 more")
    assert [duration(one) for one in (0.4, 75, 3700)] == ["0.4 s", "1 min 15 s", "1 h 01 min"]
