"""`mlembed bench`: its arithmetic, its verdict, its files; with the real peer in one slow test."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import toy_command, toy_encoder, write_toy_model

from mlembed.bench import peers, verb
from mlembed.bench.document import markdown
from mlembed.bench.outcome import NOT_COMPARED, PARTS, Outcome, medians
from mlembed.bench.peak import measure_peak
from mlembed.bench.process import import_once, run_timed
from mlembed.bench.quality import Judgment, judge
from mlembed.bench.task import Task
from mlembed.bench.work import Work, shape_of, work_of_run
from mlembed.cli import main
from mlembed.errors import TrainingFailed
from mlembed.report.bootstrap import Estimate
from mlembed.report.report import Report

PEER = "sentence-transformers"


@pytest.fixture(autouse=True)
def warm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is imported beforehand where nothing real is timed."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(verb, "import_once", lambda module, log: None)


def bench_command(toy_folder: Path, path: Path) -> list[str]:
    words = toy_command(toy_folder)[1:-1]
    return ["bench", *words, "bench.sources=40", "bench.peak_seconds=0.06", f"run.dir={path}"]


def as_peer(monkeypatch: pytest.MonkeyPatch, student: Path) -> None:
    """A peer that takes no time: its student is there."""

    def run_peer(name: str, task: Task, folder: Path) -> Outcome:
        work = Work()
        work.add(texts=2 * task.pairs, tokens=20 * task.pairs, padded=40 * task.pairs)
        return Outcome(dict.fromkeys(PARTS, 10.0) | {"evaluation": 0.0}, 10**9, work, task.pairs, student)

    monkeypatch.setattr(verb, "run_peer", run_peer)
    monkeypatch.setattr(verb, "missing", lambda name: None)
    monkeypatch.setattr(verb, "version", lambda name: "0")


def test_flops_are_those_that_a_hand_counts() -> None:
    shape = shape_of(toy_encoder(width=32, layers=2))
    # Of a layer: queries, keys, values and their output, 32 x 32; and two of 32 x 64.
    assert shape.matrix_parameters == 2 * (4 * 32 * 32 + 2 * 32 * 64)
    assert (shape.hidden, shape.feed_forward, shape.layers) == (32, 64, 2)
    # Three texts of 5 tokens. A layer's attention multiplies 5 x 32 x 5 twice a text, 2 operations each, thrice with
    # the backward pass.
    attention = 2 * 3 * (2 * 2 * 5 * 32 * 5) * 3
    matrices = 3 * 2 * shape.matrix_parameters * 15
    work = Work()
    work.add(texts=3, tokens=15, padded=30)
    assert shape.flops(tokens=work.tokens, attended=work.attended) == matrices + attention
    assert (work.attended, work.attended_padded, work.padding) == (75, 300, 0.5)


def test_the_peak_is_that_of_products() -> None:
    shape = shape_of(toy_encoder())
    peaks = measure_peak(shape, tokens=64, device=torch.device("cpu"), seconds=0.06)
    assert set(peaks) == {"fp32", "bf16"} and all(0.001 < value < 1e6 for value in peaks.values())


def test_figures_of_a_side() -> None:
    shape = shape_of(toy_encoder())
    work = Work()
    work.add(texts=30, tokens=200, padded=250)
    seconds = {part: float(at) for at, part in enumerate(PARTS, start=1)}
    figures = Outcome(seconds, 5, work, 12, Path("x")).figures(shape=shape, peak_gflops=2.0)
    assert figures["seconds/wall"] == sum(seconds.values()) == 28
    assert figures["seconds/end to end"] == 28 - sum(seconds[part] for part in NOT_COMPARED) == 15
    assert figures["seconds/end to end with evaluation"] == 21
    assert (figures["texts_per_s"], figures["tokens_per_s"], figures["pairs_per_s"]) == (30 / 4, 50, 3)
    assert figures["share_of_peak"] == pytest.approx(figures["model_flops"] / 4 / 2e9)
    assert figures["share_of_peak"] < figures["share_of_peak_padded"]
    assert medians([{"a": 1.0}, {"a": 5.0}, {"a": 2.0}]) == {"a": 2.0}


def test_the_verdict_can_fail() -> None:
    assert Judgment("sts", 79.5, 80.0).is_no_worse and Judgment("sts", 90.0, 80.0).is_no_worse
    assert not Judgment("sts", 79.4, 80.0).is_no_worse
    assert not Judgment("sts", float("nan"), 80.0).is_no_worse
    scores = {
        name: {"xx": {"retrieval": Estimate(value, value, value, 1)}} for name, value in (("p", 0.9), ("mlembed", 0.8))
    }
    (found,) = judge(Report(scores, test_set="toys"), own="mlembed", peer="p")
    assert (found.metric, found.is_no_worse) == ("retrieval", False)
    assert (found.own, found.peer) == (pytest.approx(80), pytest.approx(90))


def test_a_process_is_timed_and_its_failure_is_told(tmp_path: Path) -> None:
    program = "import os; b = bytearray(50_000_000); print(os.environ['WORD'])"
    log = tmp_path / "log.txt"
    ended = run_timed(["-c", program], environment={"WORD": "hello"}, log=log, name="it")
    assert log.read_text() == "hello\n"
    assert ended.seconds > 0 and ended.peak_bytes > 50_000_000
    import_once("json", log=log)
    with pytest.raises(TrainingFailed, match=r"the import of no_such_module ended with code 1"):
        import_once("no_such_module", log=log)
    with pytest.raises(TrainingFailed, match=r"it ended with code 7; see .*\n  why"):
        run_timed(["-c", "print('why'); raise SystemExit(7)"], environment={}, log=log, name="it")


def test_a_whole_benchmark(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """mlembed trains in a process of its own; the peer's student is a toy that was never trained."""
    as_peer(monkeypatch, write_toy_model(tmp_path / "peer", seed=5))
    # Of toys that learn for a second, either may be better.
    monkeypatch.setattr("mlembed.bench.quality.TOLERANCE", 100.0)
    path = tmp_path / "bench"
    assert main(bench_command(toy_folder, path)) == 0, capsys.readouterr().err
    content = json.loads((path / "bench.json").read_text())
    assert_content(content)
    own = content["sides"]["mlembed"]["median"]
    parts = [own[f"seconds/{part}"] for part in PARTS]
    assert all(value > 0 for value in parts) and sum(parts) == pytest.approx(own["seconds/wall"])
    run = path / "round-1-mlembed" / "run"
    laps = json.loads((run / "report.json").read_text())["metadata"]["laps"]
    inside = [own[f"seconds/{part}"] for part in PARTS if part not in ("start-up", "ending")]
    assert sum(inside) == pytest.approx(sum(laps.values()))
    work, stepping, evaluating = work_of_run(run / "metrics.jsonl")
    assert work.texts == own["texts"] == 2 * (40 + 80) and content["data"]["pairs"] == 80
    assert 0 < stepping <= laps["training"] - evaluating
    assert content["verdict"][PEER]["no_worse"] is True
    out = capsys.readouterr().out
    assert "END TO END" in out and f"times as fast as {PEER} end to end" in out
    report = (path / "bench.md").read_text()
    assert "## Time and memory" in report and "Kaplan" in report and "| **mean** |" in report


def assert_content(content: dict[str, Any]) -> None:
    """What bench.json holds is what other programs read."""
    assert list(content) == [
        "format",
        "machine",
        "versions",
        "data",
        "models",
        "epochs",
        "rounds",
        "recipe",
        "student",
        "peak_gflops",
        "sides",
        "ratios",
        "quality",
        "verdict",
        "not_run",
    ]
    assert content["format"] == "mlembed-bench/1"
    own = content["sides"]["mlembed"]
    assert list(own) == ["median", "rounds"] and len(own["rounds"]) == content["rounds"] == 1
    assert list(own["median"]) == [
        *(f"seconds/{part}" for part in PARTS),
        "seconds/end to end",
        "seconds/end to end with evaluation",
        "seconds/wall",
        "pairs",
        "texts",
        "tokens",
        "padded_tokens",
        "padding",
        "pairs_per_s",
        "texts_per_s",
        "tokens_per_s",
        "peak_memory_bytes",
        "model_flops",
        "model_flops_padded",
        "share_of_peak",
        "share_of_peak_padded",
    ]
    ratios = ["end_to_end", "end_to_end_with_evaluation", "training", "start_up", "peak_memory"]
    assert list(content["ratios"][PEER]) == ratios
    assert list(content["quality"]) == ["before", PEER, "mlembed"]
    assert list(content["verdict"][PEER]) == ["no_worse", "tolerance", "metrics"]


def test_a_worse_student_fails_the_benchmark(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    as_peer(monkeypatch, toy_folder / "teacher")
    monkeypatch.setattr(verb, "run_own", lambda task, folder: own_that_ended(task, folder, toy_folder))
    monkeypatch.setattr("mlembed.bench.quality.TOLERANCE", -200.0)
    assert main(bench_command(toy_folder, tmp_path / "bench")) == 1
    out, err = capsys.readouterr()
    assert "WORSE: Retrieval at 1, both ways" in out
    assert "MLEMBED'S STUDENT IS WORSE in retrieval (" in err
    assert json.loads((tmp_path / "bench" / "bench.json").read_text())["verdict"][PEER]["no_worse"] is False


def own_that_ended(task: Task, folder: Path, toy_folder: Path) -> Outcome:
    shutil.copytree(toy_folder / "teacher", folder / "student")
    work = Work()
    work.add(texts=10, tokens=50, padded=60)
    return Outcome(dict.fromkeys(PARTS, 1.0), 10**9, work, task.pairs, folder / "student")


def test_without_a_peer_mlembed_is_measured_alone(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verb, "run_own", lambda task, folder: own_that_ended(task, folder, toy_folder))
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    path = tmp_path / "bench"
    assert main([*bench_command(toy_folder, path), "bench.rounds=2"]) == 0
    why = "it is not installed: pip install 'mlembed[bench]'"
    assert f"warning: {PEER} is not run: {why}" in capsys.readouterr().err
    content = json.loads((path / "bench.json").read_text())
    assert content["not_run"] == {PEER: why} and content["verdict"] == {} and list(content["sides"]) == ["mlembed"]
    assert len(content["sides"]["mlembed"]["rounds"]) == 2
    assert f"- {PEER} was not run: {why}" in (path / "bench.md").read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["model=transplant"], "model=transplant is a way to start that mlembed alone has"),
        (["model.student.keep_layers=[0]"], "model.student.keep_layers changes the model"),
        (["model=pretrained", "model.student.name=NARROW"], "as wide as the teacher, and 16 is not 32 dimensions"),
    ],
)
def test_a_peer_that_cannot_do_the_task_is_not_run(
    toy_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    why: str,
) -> None:
    narrow = write_toy_model(tmp_path / "narrow", width=16)
    monkeypatch.setattr(verb, "run_own", lambda task, folder: own_that_ended(task, folder, toy_folder))
    given = [word.replace("NARROW", str(narrow)) for word in words]
    assert main([*bench_command(toy_folder, tmp_path / "bench"), *given]) == 0
    assert why in capsys.readouterr().err


def test_markdown_is_of_the_same_result(toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer's row has a ratio where less is better."""
    as_peer(monkeypatch, toy_folder / "teacher")
    monkeypatch.setattr(verb, "run_own", lambda task, folder: own_that_ended(task, folder, toy_folder))
    seen = []
    monkeypatch.setattr(verb, "markdown", lambda result: seen.append(result) or markdown(result))
    assert main(bench_command(toy_folder, tmp_path / "bench")) == 0
    (result,) = seen
    assert result.ratios(PEER)["training"] == 10 and result.ratios(PEER)["peak_memory"] == 1
    rows = {row[0]: row[1:] for row in result.cells()}
    assert rows["training, s"] == ["1.00", "10.00", "10.0 x"]
    assert rows["texts/s"][2] == ""


def test_the_script_for_gpus_runs_on_a_cpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = Path(__file__).parents[1] / "scripts" / "benchmark_gpu.py"
    words = "--shape tiny --batch-tokens 256 --length 64 --steps 3 --precision fp32 --device cpu --peak-seconds 0.06"
    monkeypatch.setattr("sys.argv", [str(script), *words.split()])
    runpy.run_path(str(script), run_name="__main__")
    found = json.loads(capsys.readouterr().out)
    assert (found["device"], found["texts"]) == ("cpu", 4)
    assert found["share_of_bf16_peak"] == pytest.approx(found["model_gflops"] / found["peak_gflops"]["bf16"])
    assert found["tokens_per_s"] == pytest.approx(64 * found["texts_per_s"]) and found["model_gflops"] > 0


@pytest.mark.slow
def test_beside_the_real_recipe(toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sentence_transformers")
    path = tmp_path / "bench"
    code = main(bench_command(toy_folder, path))
    content = json.loads((path / "bench.json").read_text())
    assert code == (0 if content["verdict"][PEER]["no_worse"] else 1), capsys.readouterr().err
    assert_content(content)
    peer = content["sides"][PEER]["median"]
    assert sum(peer[f"seconds/{part}"] for part in PARTS) == pytest.approx(peer["seconds/wall"])
    # Both texts of every pair, in every epoch.
    assert peer["texts"] == 2 * peer["pairs"] == 2 * 2 * content["data"]["pairs"]
    assert 0 < peer["padding"] < 0.9 and peer["tokens"] > 3 * peer["texts"]
    assert peer["seconds/evaluation"] == 0 < peer["seconds/teacher"]
