"""The table of metrics and how names are read."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from mlembed.errors import ConfigError
from mlembed.report.metrics import METRICS, is_better, metric_names, parse_metric


def test_names_are_frozen() -> None:
    assert metric_names() == (
        "retrieval",
        "retrieval_to_source",
        "retrieval_from_source",
        "margin_error",
        "cosine",
        "unexplained_variance",
        "sts",
        "sts_cross",
        "macro_f1",
        "micro_f1",
        "accuracy",
        "calibration_error",
        "consistency",
        "span_f1",
        "span_precision",
        "span_recall",
        "word_accuracy",
        "spearman",
        "pearson",
    )
    assert {name for name, metric in METRICS.items() if metric.better == "lower"} == {
        "margin_error",
        "unexplained_variance",
        "calibration_error",
    }


def test_better_knows_the_direction_and_nan() -> None:
    assert is_better("retrieval", 0.9, 0.8) and not is_better("retrieval/de", 0.8, 0.8)
    assert is_better("margin_error", 0.1, 0.2) and not is_better("margin_error", 0.2, 0.1)
    assert not is_better("sts", math.nan, 0.1) and is_better("sts", 0.1, math.nan)
    assert not is_better("sts", math.nan, math.nan)


def test_parse_reads_metric_and_language() -> None:
    assert parse_metric("retrieval") == ("retrieval", None)
    assert parse_metric("retrieval/zh_Hant", languages=["de", "zh_Hant"]) == ("retrieval", "zh_Hant")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("retreival", "Did you mean 'retrieval'"),
        ("unexplained_varience/de", "Did you mean 'unexplained_variance'"),
        ("bleu", "Choose from: retrieval, "),
        ("retrieval/", "without a language"),
        ("retrieval/ed", "no language 'ed'.*Did you mean 'de'"),
    ],
)
def test_parse_refuses_with_the_nearest_name(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_metric(text, languages=["de", "hi"])


def test_values_are_shown_in_their_scale() -> None:
    assert METRICS["retrieval"].format(0.8125) == "81.2"
    assert METRICS["cosine"].format(0.8125) == "0.812"
    assert METRICS["sts"].format(math.nan) == "-"


def test_the_table_is_read_without_numpy() -> None:
    code = "import sys, mlembed.report.metrics; sys.exit(any(m in sys.modules for m in ('numpy', 'torch', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
