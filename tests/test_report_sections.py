"""What `report.md` says of data and vocabulary."""

from __future__ import annotations

from toys import toy_tokenizer

from mlembed.data.records import Row
from mlembed.report.bootstrap import Estimate
from mlembed.report.report import Report
from mlembed.report.tables import markdown
from mlembed.tasks.vocabulary_use import vocabulary_use

COUNTS = {
    "train": {
        "read": 10,
        "bad": 1,
        "kept": 6,
        "filtered": {"empty": 1, "language": 2},
        "bad_examples": ["a.tsv:3: no"],
    },
    "used": {"leaks_dropped": 2, "train": {"rows": 4, "sources": 2}, "test": {"rows": 2, "sources": 1}},
}


def test_counts_reasons_and_bad_rows_are_in_the_report() -> None:
    systems = {"student": {"xx": {"retrieval": Estimate(0.5, 0.4, 0.6, 10)}}}
    text = markdown(Report(systems, test_set="a test", metadata={"data": COUNTS}))
    row = next(line for line in text.splitlines() if "language 2" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")] == ["train", "10", "1", "6", "empty 1, language 2"]
    assert "train 4 rows of 2 sources" in text and "; 2 training rows were dropped" in text
    assert "- a.tsv:3: no" in text
    assert "## Data" not in markdown(Report(systems, test_set="a test"))


def test_vocabulary_is_measured_by_language() -> None:
    rows = [Row("the cat", "xxthe xxcat", "xx", "f", 1), Row("the cat", "zz xxcat zz", "zz", "f", 2)]
    measured = vocabulary_use(rows, {"student": toy_tokenizer()})
    assert measured["xx"]["student"] == {"tokens_per_word": 1.0, "tokens_per_character": 0.2, "unknown": 0.0}
    assert measured["zz"]["student"]["unknown"] == 2 / 3
    systems = {"student": {"xx": {"retrieval": Estimate(0.5, 0.4, 0.6, 10)}}}
    text = markdown(Report(systems, test_set="a test", metadata={"vocabulary": measured}))
    assert "66.7 %" in next(line for line in text.splitlines() if line.startswith("| zz"))
