"""The picture of a sweep: axes that fit what was varied, and no picture where nothing can be compared."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from mlembed.run.sweep_plot import _draw, numeric, save_sweep_plot, spans_decades

matplotlib = pytest.importorskip("matplotlib")


def jobs(*settings: dict[str, Any], metric: str = "retrieval") -> list[dict[str, Any]]:
    return [{"metric": metric, "value": 0.9 - 0.1 * at, "settings": one} for at, one in enumerate(settings)]


def axes_of(found: list[dict[str, Any]]) -> list[Any]:
    from matplotlib.figure import Figure

    figure = Figure()
    _draw(found, list(found[0]["settings"]), figure)
    return [axes for axes in figure.axes if axes.axison]


def test_a_number_over_decades_is_on_a_log_scale() -> None:
    (axes,) = axes_of(jobs({"optimizer.lr": 1e-4}, {"optimizer.lr": 1e-3}, {"optimizer.lr": 3e-5}))
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "optimizer.lr")
    (line,) = axes.get_lines()
    assert list(line.get_xdata()) == [3e-5, 1e-4, 1e-3] and list(line.get_ydata()) == pytest.approx([70, 90, 80])
    (axes,) = axes_of(jobs({"seed": 1}, {"seed": 2}))
    assert axes.get_xscale() == "linear"


def test_each_setting_has_a_panel_and_words_have_names() -> None:
    found = jobs(*({"loss.kind": loss, "seed": seed, "data.x": None} for loss in ("mse", "cosine") for seed in (1, 2)))
    words, numbers, nothing = axes_of(found)
    assert [text.get_text() for text in words.get_xticklabels()] == ["cosine", "mse"]
    assert [text.get_text() for text in nothing.get_xticklabels()] == ["null"]
    (line,) = numbers.get_lines()
    assert list(line.get_ydata()) == pytest.approx([90, 80]), "the best of each value"


def test_what_is_a_number() -> None:
    assert numeric([1, 2.5]) == [1.0, 2.5]
    assert [numeric(values) for values in ([1, None], ["1"], [True, False], [1, math.inf], [[1]])] == [None] * 5
    assert [spans_decades(one) for one in ([1, 10], [1e-5, 3e-4])] == [True, True]
    assert [spans_decades(one) for one in ([1, 9], [0, 10], [-1, 10], [5])] == [False] * 4


def test_pictures_are_made_only_of_what_can_be_compared(tmp_path: Path) -> None:
    assert save_sweep_plot([], tmp_path) == save_sweep_plot(jobs({"seed": 1}), tmp_path) == []
    assert save_sweep_plot(jobs({}, {}), tmp_path) == []
    mixed = [*jobs({"seed": 1}), *jobs({"seed": 2}, metric="sts")]
    assert save_sweep_plot(mixed, tmp_path) == [] and list(tmp_path.iterdir()) == []
    undefined = [*jobs({"seed": 1}, {"seed": 2}), {"metric": "retrieval", "value": math.nan, "settings": {"seed": 3}}]
    paths = save_sweep_plot(undefined, tmp_path)
    assert [path.name for path in paths] == ["summary.png", "summary.svg"] and set(tmp_path.iterdir()) == set(paths)
    before = (tmp_path / "summary.svg").read_bytes()
    save_sweep_plot(undefined, tmp_path)
    assert (tmp_path / "summary.svg").read_bytes() == before, "the same sweep has the same picture"
