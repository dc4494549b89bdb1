"""Trackers: what they are told, and that whatever they do, a run does not notice (F22)."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from crashes import copy_of_interrupted, reference, student_hash, survival_command
from toys import toy_command

from mlembed.cli import main
from mlembed.config import TrainConfig
from mlembed.run.trackers import tracking
from mlembed.run.trackers.process import TRACKERS, figures
from mlembed.run.trackers.tracking import Telling

PROGRAM = [sys.executable, str(Path(__file__).parent / "broken_trackers.py")]


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def test_every_tracker_has_a_name_in_the_configuration() -> None:
    names = TrainConfig.model_fields["trackers"].annotation.model_fields["use"].annotation  # type: ignore[union-attr]
    assert all(f"'{name}'" in str(names) for name in TRACKERS) and str(names).count("'") == 2 * len(TRACKERS)


def test_records_become_figures() -> None:
    step = {"step": 3, "epoch": 0, "loss": 0.5, "lr": 0.1, "losses": {"supervised": 0.2}, "skipped": None}
    assert figures(step) == {"train/epoch": 0.0, "train/loss": 0.5, "train/lr": 0.1, "train/loss/supervised": 0.2}
    assert figures(step | {"loss": None, "losses": {}}) == {"train/epoch": 0.0, "train/lr": 0.1}
    evaluation = {"step": 3, "epoch": 0, "value": 0.5, "seconds": 1.0, "evaluation": {"retrieval": 0.5}, "best_step": 3}
    assert figures(evaluation) == {"validation/retrieval": 0.5}
    assert figures({"report": {"retrieval/de": 0.5, "sts": None}}) == {"test/retrieval/de": 0.5}


@needs("tensorboard")
def test_tensorboard_gets_what_metrics_jsonl_has_also_of_a_run_that_goes_on(toy_folder: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    assert main([*survival_command(toy_folder, run=first), "trackers.use=tensorboard", "trainer.max_steps=9"]) == 0
    before = events(first / "tensorboard").Scalars("train/loss")
    assert [event.step for event in before] == list(range(1, 10))
    assert main([*survival_command(toy_folder, run=first), "trackers.use=tensorboard"]) == 0
    found = events(first / "tensorboard")
    records = [json.loads(line) for line in (first / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = {record["step"]: record["loss"] for record in records if "evaluation" not in record}
    assert {event.step: event.value for event in found.Scalars("train/loss")} == pytest.approx(losses)
    assert len(found.Scalars("train/loss")) == len(losses), "no step is shown twice"
    report = json.loads((first / "report.json").read_text(encoding="utf-8"))
    by_language = report["systems"]["after"]["languages"]["xx"]["retrieval"]["value"]
    assert found.Scalars("test/retrieval/xx")[-1].value == pytest.approx(by_language)
    assert "config" in found.Tags()["tensors"]
    assert (first / "trackers" / "tensorboard.id").read_text(encoding="utf-8") == "tensorboard\n"


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ("start:raises", "TENSORBOARD cannot be used: ConnectionRefusedError('the network is refused')"),
        ("log:hangs", "TENSORBOARD did not take"),
        pytest.param("log:raises", "TENSORBOARD cannot take what it is told: Conn", marks=pytest.mark.slow),
        pytest.param("log:exits", "TENSORBOARD did not take", marks=pytest.mark.slow),
        pytest.param("start:hangs", "TENSORBOARD did not take", marks=pytest.mark.slow),
        pytest.param("finish:raises", "TENSORBOARD cannot be ended: Conn", marks=pytest.mark.slow),
        pytest.param("finish:hangs", "", marks=pytest.mark.slow),
        pytest.param("start:exits", "TENSORBOARD did not take", marks=pytest.mark.slow),
        pytest.param("log:seeds", "", marks=pytest.mark.slow),
    ],
)
def test_a_broken_tracker_changes_no_weight(
    toy_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    broken: str,
    complaint: str,
) -> None:
    """F22: it raises, hangs, ends its process, draws random numbers; weights are those of a run without it."""
    monkeypatch.setattr(tracking, "PROGRAM", PROGRAM)
    monkeypatch.setenv("BROKEN", broken)
    run = copy_of_interrupted(toy_folder, tmp_path / "run")
    started = time.monotonic()
    words = ["trackers.use=[tensorboard]", "trackers.last_seconds=0.5"]
    assert main([*survival_command(toy_folder, run=run), *words]) == 0
    assert time.monotonic() - started < 60
    assert student_hash(run) == student_hash(reference(toy_folder))
    err = capsys.readouterr().err
    assert complaint in err and err.count("TENSORBOARD") <= 2
    assert complaint == "" or "see " + str(run / "trackers" / "tensorboard.log") in err
    assert len((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) > 16


def test_a_tracker_that_takes_nothing_costs_no_memory_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """More records than the queue holds, for a process that never reads one."""
    monkeypatch.setattr(tracking, "PROGRAM", [sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr(tracking, "MOST_WAITING", 100)
    telling = Telling("tensorboard", folder=tmp_path, about={})
    started = time.monotonic()
    for step in range(2000):
        telling.tell({"step": step, "loss": 0.5, "padding": "x" * 1000})
    telling.no_more()
    telling.close(time.monotonic() + 0.2)
    assert time.monotonic() - started < 10
    assert "did not take 2000 of 2000 records in time" in caplog.text
    assert telling.process is not None and telling.process.returncode == -9
    assert telling.waiting.qsize() <= 100


def test_a_tracker_that_is_not_installed_is_told_before_the_run(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TRACKERS["wandb"], "package", "no_such_package")
    assert main([*toy_command(toy_folder), f"run.root={tmp_path}", "trackers.use=[wandb]"]) == 2
    assert 'wandb is not installed: pip install "mlembed[wandb]"' in capsys.readouterr().err
    assert main(["check", *toy_command(toy_folder)[1:], "trackers.use=[wandb]"]) == 2
    assert list(tmp_path.iterdir()) == []
    assert main(["train", "trackers.use=[wandbb]", "--cfg", "job"]) == 2
    assert "did you mean wandb?" in capsys.readouterr().err


def test_no_secret_reaches_a_tracker_or_the_run_directory(toy_folder: Path, tmp_path: Path) -> None:
    uri = "trackers.mlflow.uri=https://me:secret@example.org"
    run = tmp_path / "run"
    words = [uri, "trackers.use=[tensorboard]", "trainer.max_steps=1", f"run.dir={run}"]
    pytest.importorskip("tensorboard")
    assert main([*toy_command(toy_folder), *words]) == 0
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if b"me:secret" in path.read_bytes()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("wandb", ["trackers.wandb.mode=online"], marks=needs("wandb")),
        pytest.param("mlflow", ["trackers.mlflow.uri=http://127.0.0.1:9"], marks=needs("mlflow")),
    ],
)
def test_a_refused_network_changes_no_weight(
    toy_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    words: list[str],
) -> None:
    """F22, with the real trackers and a server that is not there."""
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    run = copy_of_interrupted(toy_folder, tmp_path / "run")
    words = [f"trackers.use=[{name}]", "trackers.last_seconds=2", *words]
    assert main([*survival_command(toy_folder, run=run), *words]) == 0
    assert student_hash(run) == student_hash(reference(toy_folder))
    assert f"{name.upper()} " in capsys.readouterr().err


@pytest.mark.slow
@needs("wandb")
def test_wandb_offline_goes_on_with_its_run(toy_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["trackers.use=[wandb]", "trackers.wandb.mode=offline", "trackers.tags=[toy]"]
    assert main([*survival_command(toy_folder, run=run), *words, "trainer.max_steps=9"]) == 0
    known = (run / "trackers" / "wandb.id").read_text(encoding="utf-8")
    assert main([*survival_command(toy_folder, run=run), *words]) == 0
    assert (run / "trackers" / "wandb.id").read_text(encoding="utf-8") == known
    files = list((run / "wandb").glob(f"offline-run-*-{known.strip()}/run-{known.strip()}.wandb"))
    assert len(files) == 2 and all(path.stat().st_size > 0 for path in files)


@pytest.mark.slow
@needs("mlflow")
def test_mlflow_goes_on_with_its_run(toy_folder: Path, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    run = tmp_path / "run"
    # Making a database takes longer than the run.
    words = ["trackers.use=[mlflow]", "trackers.last_seconds=200", "trackers.tags=[toy]"]
    assert main([*survival_command(toy_folder, run=run), *words, "trainer.max_steps=9"]) == 0
    assert main([*survival_command(toy_folder, run=run), *words]) == 0
    client = MlflowClient(f"sqlite:///{run}/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "mlembed"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED" and found.info.run_name == "run"
    assert {metric.step for metric in client.get_metric_history(found.info.run_id, "train/loss")} == set(range(1, 17))
    assert found.data.params["optimizer.lr"] == "0.001" and found.data.tags["toy"] == "true"
    assert 0 <= found.data.metrics["test/retrieval/xx"] <= 1
