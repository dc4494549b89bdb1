"""The report: means, the weakest language, JSON, tables, pictures."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mlembed.errors import ConfigError, DataError
from mlembed.report.bootstrap import Estimate
from mlembed.report.plots import save_plots
from mlembed.report.report import Report
from mlembed.report.tables import markdown, terminal_table

NAN = math.nan


def _scores(value: float, *, count: int = 400) -> dict[str, Estimate]:
    def near(number: float, width: float) -> Estimate:
        return Estimate(number, number - width, number + width, count)

    return {
        "retrieval": near(value, 0.02),
        "retrieval_to_source": near(value + 0.01, 0.02),
        "retrieval_from_source": near(value - 0.01, 0.02),
        "margin_error": near(1 - value, 0.02),
        "cosine": near(value / 2, 0.01),
        "unexplained_variance": near(1.5 - value, 0.01),
    }


def _report(**changes: object) -> Report:
    systems = {
        "teacher": {"de": _scores(0.40), "hi": _scores(0.05), "zh_Hant": _scores(0.11)},
        "before": {"de": _scores(0.42), "hi": _scores(0.06), "zh_Hant": _scores(0.83)},
        "after": {"de": _scores(0.91), "hi": _scores(0.72), "zh_Hant": _scores(0.84)},
    }
    return Report(**{"systems": systems, "test_set": "1,200 unseen rows", "metadata": {"seconds": 1.5}} | changes)  # type: ignore[arg-type]


def _screen(report: Report, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(terminal_table(report, width=width))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_value_is_the_mean_or_one_language() -> None:
    report = _report()
    assert report.value("retrieval") == pytest.approx((0.91 + 0.72 + 0.84) / 3)
    assert report.value("retrieval/hi") == 0.72
    assert report.value("cosine/de", system="teacher") == 0.20


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("retreival", "Did you mean 'retrieval'"),
        ("retrieval/zh_Hans", "Did you mean 'zh_Hant'"),
        ("sts", "no 'sts' .*Choose from: retrieval, "),
        ("sts/de", "no 'sts'"),
    ],
)
def test_value_that_is_not_there_is_refused_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _report().value(name)


def test_unknown_system_metric_or_no_system_are_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'before'"):
        _report().value("retrieval", system="befor")
    with pytest.raises(ConfigError, match="no metric 'bleu'"):
        Report(systems={"student": {"de": {"bleu": Estimate(1, 1, 1, 1)}}}, test_set="x")
    with pytest.raises(ConfigError, match="at least one system"):
        Report(systems={}, test_set="x")


def test_mean_is_not_better_for_an_undefined_language() -> None:
    languages = {"de": {"sts": Estimate(0.8, 0.7, 0.9, 50)}, "hi": {"sts": Estimate(NAN, NAN, NAN, 50)}, "ja": {}}
    report = Report(systems={"student": languages}, test_set="x")
    assert math.isnan(report.mean("sts"))
    assert report.weakest() == ("hi", "sts")
    defined = Report(systems={"student": {"de": languages["de"], "ja": {}}}, test_set="x")
    assert defined.mean("sts") == 0.8


def test_weakest_is_of_the_last_system_by_retrieval() -> None:
    assert _report().weakest() == ("hi", "retrieval")
    assert Report(systems={"student": {}}, test_set="x").weakest() is None


def test_json_keys_are_frozen() -> None:
    document = json.loads(_report().to_json())
    assert list(document) == ["format", "test_set", "metrics", "systems", "weakest", "rows", "metadata"]
    assert document["format"] == "mlembed-report/1"
    assert list(document["systems"]) == ["teacher", "before", "after"]
    assert list(document["systems"]["after"]) == ["mean", "languages"]
    assert list(document["systems"]["after"]["languages"]) == ["de", "hi", "zh_Hant"]
    assert list(document["systems"]["after"]["languages"]["de"]) == list(document["metrics"])
    assert list(document["systems"]["after"]["mean"]) == list(document["metrics"])
    assert document["systems"]["after"]["mean"]["retrieval"] == pytest.approx(0.82333333)
    assert list(document["systems"]["after"]["languages"]["de"]["retrieval"]) == ["value", "low", "high", "count"]
    assert list(document["metrics"]["retrieval"]) == ["title", "meaning", "better"]
    assert document["weakest"] == {"system": "after", "language": "hi", "metric": "retrieval"}
    assert document["rows"]["de"] == {"parallel": 400}


def test_json_round_trip_keeps_everything_and_writes_null_for_nan() -> None:
    systems = {"student": {"de": {"sts": Estimate(NAN, NAN, NAN, 7)}, "hi": {"sts": Estimate(0.5, 0.25, 0.75, 9)}}}
    metadata = {"file": Path("a/ü.tsv"), "rows": np.int64(3), "loss": NAN, "times": (1, np.float32(0.5))}
    text = Report(systems=systems, test_set="ü", metadata=metadata).to_json()
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert document["systems"]["student"]["languages"]["de"]["sts"]["value"] is None
    assert document["systems"]["student"]["mean"]["sts"] is None
    assert document["metadata"] == {"file": "a/ü.tsv", "rows": 3, "loss": None, "times": [1, 0.5]}
    again = Report.from_json(text)
    assert again.to_json() == text
    assert again.systems["student"]["hi"] == systems["student"]["hi"]
    assert math.isnan(again.value("sts/de"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "Not a report of this version"),
        ('{"format": "mlembed-report/9"}', "Not a report of this version"),
        ('{"format": "mlembed-report/1"}', "damaged: KeyError"),
        ('{"format": "mlembed-report/1", "systems": {"a": {"languages": {"de": {"sts": 1}}}}}', "damaged: TypeError"),
    ],
)
def test_json_that_is_no_report_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Report.from_json(text)


def test_markdown_says_the_result_in_words_first() -> None:
    lines = markdown(_report()).splitlines()
    assert lines[2] == (
        "On 1,200 unseen rows, the student after training scores **82.3** in retrieval at 1, both ways (x100), the "
        "mean of 3 languages; the weakest is **hi** with 72.0. Against the student before training (43.7): +38.7; by "
        "the 95 % intervals better in 2, too close to call in 1 of 3 languages. Against the teacher fed the foreign "
        "text (18.7): +63.7; by the 95 % intervals better in 3 of 3 languages."
    )


def test_markdown_admits_that_it_got_worse() -> None:
    systems = {"before": {"de": _scores(0.9)}, "after": {"de": _scores(0.3)}}
    words = markdown(Report(systems=systems, test_set="x")).splitlines()[2]
    assert words.endswith("(90.0): -60.0; by the 95 % intervals worse in 1 language.")


def test_markdown_has_each_metric_with_intervals_meaning_and_rows() -> None:
    text = markdown(_report())
    assert "| hi (weakest) |      5.0 |      6.0 | 72.0 [70.0, 74.0] |" in text
    assert "| **mean**     | **18.7** | **43.7** |          **82.3** |" in text
    for title in ("Margin-based error rate", "Cosine to the teacher", "Unexplained variance, 1 - R2"):
        assert f"### {title}" in text and f"- **{title}" in text
    assert "## Semantic similarity" not in text
    assert "| hi       |      400 |" in text


def test_terminal_table_fits_80_columns_with_three_systems() -> None:
    lines = _screen(_report()).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == ["to", "source", "from", "source", "cosine", "to", "teacher"]
    assert lines[2].split() == ["lang", *["teacher", "before", "after"] * 3]
    rows = [line.split() for line in lines]
    assert ["hi", "*", "6.0", "7.0", "73.0", "4.0", "5.0", "71.0", "0.025", "0.030", "0.360"] in rows
    assert next(row for row in reversed(rows) if row[:1] == ["mean"])[1:4] == ["19.7", "44.7", "83.3"]
    assert "in report.md: margin error" in lines[-1]


def test_terminal_table_of_one_system_has_room_for_all() -> None:
    scores = _scores(0.5) | {"sts": Estimate(0.7, 0.6, 0.8, 9), "sts_cross": Estimate(NAN, NAN, NAN, 9)}
    screen = _screen(Report(systems={"student": {"[red]": scores}}, test_set="x"), width=100)
    assert ["[red]", "51.0", "49.0", "0.250", "70.0", "-", "50.0"] in [line.split() for line in screen.splitlines()]
    assert "weakest" not in screen


def test_reports_without_scores_still_print() -> None:
    empty = Report(systems={"student": {}}, test_set="no rows")
    assert markdown(empty) == "# Results by language\n\nNothing was measured on no rows.\n"
    assert "mean" in _screen(empty)


def test_plots_are_left_out_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert save_plots(_report(), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_plots_are_a_png_and_an_svg_and_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = _report()
    paths = save_plots(report, tmp_path)
    assert paths == [tmp_path / "retrieval.png", tmp_path / "retrieval.svg"]
    first = paths[1].read_bytes()
    assert paths[0].read_bytes().startswith(b"\x89PNG") and b"<svg" in first
    save_plots(report, tmp_path)
    assert paths[1].read_bytes() == first
    assert save_plots(Report(systems={"student": {}}, test_set="x"), tmp_path) == []
