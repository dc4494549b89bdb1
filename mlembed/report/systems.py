"""What the systems of a report are called in a sentence."""

from __future__ import annotations

from mlembed.report.report import Report

_LABEL_METRICS = ("macro_f1", "span_f1", "spearman")
_WORDS = {
    "majority": "always the most frequent label",
    "tfidf": "TF-IDF on labels of that language",
    "teacher": "the teacher fed the foreign text",
    "before": "the student before training",
    "after": "the student after training",
    "student": "the student",
}
# A student that answers with labels has learnt them in the source language, before it learns another one.
_LABEL_WORDS = {**_WORDS, "teacher": "the teacher on the foreign text", "before": "the zero-shot student"}


def about_labels(report: Report) -> bool:
    """Return whether the report is about answers to labelled rows, rather than about vectors.

    Args:
        report: what was measured.
    """
    return report.main_metric() in _LABEL_METRICS


def system_words(report: Report, system: str) -> str:
    """Return a system in words that can follow "against"; its name where there are none.

    Args:
        report: what was measured.
        system: the name of one of its systems.
    """
    return (_LABEL_WORDS if about_labels(report) else _WORDS).get(system, system)
