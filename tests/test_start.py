"""Configurations that come from a run: laid over, compared, and never interpreted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlembed.cli import main
from mlembed.errors import ConfigError
from mlembed.run.start import MAX_CONFIG_BYTES, differences, lay_over, read_stored_config

STORED = {
    "seed": 1,
    "loss": {"kind": "contrastive", "temperature": 0.1},
    "data": {"columns": {"lang": "l"}, "where": None},
}


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of a run with settings of its own, as far as the door looks at it."""
    folder = tmp_path / "a run"
    words = ["data=hub", "data.name=corpus", "model=pretrained", "model.student.name=s", "model.teacher.name=t"]
    assert main(["train", *words, "loss=contrastive", "seed=5", "--cfg", "job"]) == 0
    folder.mkdir()
    config = yaml.safe_load(capsys.readouterr().out)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "command.txt").write_text("mlembed train\n", encoding="utf-8")
    return folder


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code = main([*words, "--cfg", "job"])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return yaml.safe_load(out)


def change(run: Path, **values: Any) -> None:
    path = run / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_resuming_takes_the_stored_settings_and_lays_the_given_ones_over(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = json.loads((run / "config.json").read_text(encoding="utf-8"))
    same = shown(capsys, "train", "--resume", str(run))
    assert same["run"] == stored["run"] | {"dir": str(run), "resume": str(run)}
    assert {key: value for key, value in same.items() if key != "run"} == {
        key: value for key, value in stored.items() if key != "run"
    }
    # Keys of choices that are not the default ones, and a whole group.
    words = [
        "model.student.name=/moved",
        "data.train_split=x",
        "loss.temperature=0.2",
        "optimizer=sgd",
        "trainer.epochs=9",
    ]
    new = shown(capsys, "train", *words, "--resume", str(run))
    assert new["model"] == stored["model"] | {"student": stored["model"]["student"] | {"name": "/moved"}}
    assert new["data"] == stored["data"] | {"train_split": "x"}
    assert new["loss"] == {"kind": "contrastive", "temperature": 0.2}
    assert new["optimizer"]["kind"] == "sgd" and "betas" not in new["optimizer"]
    assert new["trainer"] == stored["trainer"] | {"epochs": 9} and new["seed"] == 5


@pytest.mark.parametrize(
    ("word", "key"), [("experiment=pretrained_student", "experiment"), ("debug=cpu", "debug"), ("~seed", "seed")]
)
def test_what_cannot_be_laid_over_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], word: str, key: str
) -> None:
    assert main(["train", "--resume", str(run), word]) == 2
    assert capsys.readouterr().err.startswith(f"mlembed: {key} cannot be laid over the configuration of a run")


def test_evaluation_takes_data_teacher_and_seed_from_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = json.loads((run / "config.json").read_text(encoding="utf-8"))
    config = shown(capsys, "eval", str(run))
    assert config["data"] == stored["data"] and config["seed"] == 5
    assert config["teacher"] == {"name": "t", "max_length": None} and config["target"] == str(run)
    assert config["run"]["name"] == "eval", "results are not written into the run that is measured"
    checkpoint = run / "checkpoints" / "step-8"
    checkpoint.mkdir(parents=True)
    assert shown(capsys, "eval", str(checkpoint))["data"] == stored["data"], "a checkpoint belongs to its run"
    part = shown(capsys, "eval", str(run), "data.test_split=dev", "teacher.name=null")
    assert part["data"] == stored["data"] | {"test_split": "dev"} and part["teacher"]["name"] is None
    other = shown(capsys, "eval", str(run), "data=files", "data.test=x.tsv")
    assert (other["data"]["kind"], other["data"]["test"], other["data"]["languages"]) == ("files", ["x.tsv"], None)
    plain = shown(capsys, "eval", str(run.parent), "data.test=x.tsv")
    assert plain["teacher"]["name"] is None, "a folder that is no run has nothing to say"


def test_a_stored_configuration_is_never_interpreted(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    teacher = {"name": "${oc.env:SECRET}", "max_length": None, "width": None, "trainable": False}
    model = json.loads((run / "config.json").read_text(encoding="utf-8"))["model"] | {"teacher": teacher}
    change(run, model=model)
    assert shown(capsys, "train", "--resume", str(run))["model"]["teacher"]["name"] == "${oc.env:SECRET}"
    assert shown(capsys, "eval", str(run))["teacher"]["name"] == "${oc.env:SECRET}"
    change(run, hydra={"callbacks": {"x": {"_target_": "os.abort"}}}, loss={"_target_": "os.abort", "kind": "mse"})
    assert main(["train", "--resume", str(run)]) == 2
    message = capsys.readouterr().err
    assert "loss._target_: nothing is imported" in message and "hydra: there is no such key" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "is not the configuration of a run"),
        ('{"data": 3, "run": {}}', "is not the configuration of a run"),
        ("{not json", "cannot be read"),
        ("seed: 1", "cannot be read"),
        (" " * (MAX_CONFIG_BYTES + 1), "too large"),
    ],
)
def test_a_damaged_configuration_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_stored_config(tmp_path)


def test_evaluating_the_run_of_an_evaluation_is_explained(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(run, model=None)
    assert main(["eval", str(run)]) == 2
    assert "is not the configuration of a training run" in capsys.readouterr().err


def test_lay_over_replaces_keys_and_sections_and_leaves_its_arguments_alone() -> None:
    before = json.dumps(STORED)
    composed = {
        "seed": 9,
        "loss": {"kind": "mse", "temperature": 0.5},
        "data": {"columns": {"lang": "x"}, "where": {"a": 1}},
    }
    assert lay_over(STORED, composed, ["seed", "data.columns.lang", "data.where.a", "loss.temperature"]) == {
        "seed": 9,
        "loss": {"kind": "contrastive", "temperature": 0.5},
        "data": {"columns": {"lang": "x"}, "where": {"a": 1}},
    }
    assert lay_over(STORED, composed, ["loss"])["loss"] == {"kind": "mse", "temperature": 0.5}
    assert json.dumps(STORED) == before


def test_differences_name_what_shapes_the_result() -> None:
    stored = {"seed": 1, "loss": {"kind": "mse"}, "run": {"name": "a"}, "trainer": {"epochs": 1, "accumulate": 1}}
    wanted = {
        "seed": 2,
        "loss": {"kind": "sum", "weights": {"mse": 1}},
        "run": {"name": "b"},
        "trainer": {"epochs": 2, "accumulate": 1},
    }
    assert differences(stored, stored) == []
    assert differences(stored, wanted) == [
        'loss.kind: was "mse", is now "sum"',
        "loss.weights.mse: was null, is now 1",
        "seed: was 1, is now 2",
    ]
    new, old = ({"train": [path], "parallel": [path], "unlabelled": [path]} for path in ("/new", "/old"))
    moved = stored | {"data": {**new, "on_error": "skip"}, "model": {"teacher": {"name": "/t"}}}
    assert differences(stored | {"data": old, "model": {"teacher": {"name": "/s"}}}, moved) == []
    assert differences(stored, stored | {"runner": 1}) == ["runner: was null, is now 1"], "only whole names are free"
