"""The space of a study: how it is written, what is refused before anything runs, and the trials that come of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mlembed.cli import main
from mlembed.config import TuneConfig
from mlembed.config_door import validate
from mlembed.door.help_page import options_of
from mlembed.tune.settings import flattened, start_values, trial_config, tune_config

LR = {"kind": "float", "low": 1e-4, "high": 1e-1, "log": True}


def composed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main(["tune", *words, "--cfg", "job"]) == 0
    content = yaml.safe_load(capsys.readouterr().out)
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "space.optimizer.lrr={kind:float,low:1,high:3}",
            "space.optimizer.lrr: with 1.0: optimizer.lrr: there is no such key; did you mean optimizer.lr?",
        ),
        (
            "space.optimizer.lr.log=false space.optimizer.lr.low=-1",
            "space.optimizer.lr: with -1.0: optimizer.lr: must be greater than 0.0, not -1.0",
        ),
        ("space.optimizer.lr.low=-1", "space.optimizer.lr: log=true needs a low that is greater than 0, not -1.0"),
        ("space.optimizer.lr.low=1", "space.optimizer.lr: low=1.0 must be less than high=0.002"),
        ("space.optimizer.lr.step=1e-5", "space.optimizer.lr: log=true and a step do not go together"),
        ("space.optimizer.lr.hihg=1", "space.optimizer.lr.hihg: there is no such key"),
        ("space.optimizer.lr.kind=flaot", "space.optimizer.lr.kind: must be one of 'float', 'int', 'choice', not"),
        (
            "space.trainer.epochs={kind:float,low:1,high:3}",
            "space.trainer.epochs: with 1.0: trainer.epochs: must be a whole number, not 1.0",
        ),
        (
            "space.optimizer.schedule.choices=[linear,sine]",
            "space.optimizer.schedule: with \"sine\": optimizer.schedule: must be 'linear', 'cosine' or 'constant'",
        ),
        ("space.seed={kind:int,low:1,high:3}", "space.seed: it must be the same for all trials"),
        ("space.trainer.metric={kind:choice,choices:[sts]}", "space.trainer.metric: it must be the same for all"),
        ("space=loss_weights", "space.loss.weights.cosine: with 0.0: loss.weights: loss.kind=mse has no such key"),
        ("space=mine", "space=mine: there is no such choice; the choices are classification, embedding, loss_weights"),
        ("tune.trails=3", "tune.trails: there is no such key; did you mean tune.trials?"),
        ("tune.pruner.kind=meadian", "tune.pruner.kind: must be 'median', 'hyperband' or 'none'"),
        ("-m optimizer.lr=1,2", "-m is the grid of mlembed train"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    assert main(["tune", *words.split(), f"run.root={tmp_path}"]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["tune"]) == 2
    assert "start mlembed tune without torchrun, once for each GPU" in capsys.readouterr().err


@pytest.mark.parametrize("space", options_of("space"))
def test_every_space_fits_its_task(capsys: pytest.CaptureFixture[str], space: str) -> None:
    words = {
        "loss_weights": ["loss=sum", "space=loss_weights"],
        "embedding": [],
        "classification": ["task=classification"],
    }.get(space, [f"task={space}", "data.train=x", "model=copy"])
    config = composed(capsys, *words)
    assert config["space"].keys() == flattened(yaml.safe_load(space_file(space))).keys()  # type: ignore[attr-defined]


def space_file(space: str) -> str:
    return (Path(__file__).parent.parent / "conf" / "space" / f"{space}.yaml").read_text(encoding="utf-8")


def test_a_space_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "mine.yaml").write_text(
        "optimizer.lr: {kind: float, low: 1.0e-4, high: 1.0e-2, log: true}\n"
        "trainer: {accumulate: {kind: int, low: 1, high: 4}}\n"
        "optimizer.max_grad_norm: {kind: choice, choices: [null, 1.0]}\n",
        encoding="utf-8",
    )
    words = ["--config-dir", str(tmp_path), "space=mine"]
    space = composed(capsys, *words)["space"]
    assert isinstance(space, dict)
    assert space["trainer.accumulate"] == {"kind": "int", "low": 1, "high": 4, "log": False, "step": None}
    assert space["optimizer.max_grad_norm"]["choices"] == [None, 1.0]
    assert space["optimizer.lr"]["high"] == 0.01
    fewer = composed(capsys, "space.optimizer.schedule=null", "space.optimizer.lr.high=0.5")["space"]
    assert isinstance(fewer, dict)
    assert "optimizer.schedule" not in fewer and fewer["optimizer.lr"]["high"] == 0.5
    other = composed(capsys, "space.optimizer.lr={kind:choice,choices:[0.1,0.2]}")["space"]
    assert isinstance(other, dict)
    assert other["optimizer.lr"] == {"kind": "choice", "choices": [0.1, 0.2]}, "a range becomes a choice"


def test_values_become_the_configuration_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = composed(capsys)
    config = validate({**plain, "space": {"optimizer.lr": LR}}, TuneConfig)
    trial = trial_config(config, {"optimizer.lr": 0.05}, folder=tmp_path / "trial-003")
    assert (trial.optimizer.lr, trial.seed) == (0.05, config.seed)
    assert trial.run.dir == str(tmp_path / "trial-003") and trial.trackers.group == config.run.name


def test_the_first_trial_has_the_values_of_the_configuration_where_the_space_has_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    space = {
        "optimizer.lr": LR,
        "optimizer.warmup": {"kind": "float", "low": 0.2, "high": 0.3},
        "optimizer.weight_decay": {"kind": "float", "low": 0.0, "high": 0.1, "step": 0.003},
        "optimizer.schedule": {"kind": "choice", "choices": ["linear", "cosine"]},
        "trainer.accumulate": {"kind": "int", "low": 1, "high": 4},
        "optimizer.embedding_lr": {"kind": "float", "low": 0.2, "high": 0.3},
    }
    config = tune_config({**composed(capsys), "space": space}, [])
    assert start_values(config) == {
        "optimizer.lr": 0.0002,
        "optimizer.schedule": "linear",
        "trainer.accumulate": 1,
    }
