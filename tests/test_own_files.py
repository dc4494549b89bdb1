"""YAML files of the user: choices and whole configurations in a folder of one's own, and what they may not do."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mlembed.cli import main

# Each recipe with the values that it leaves open.
RECIPES = {
    "experiment=pretrained_student": ["model.student.name=x", "data.train=x"],
    "experiment=static_student": ["data.train=x"],
    "experiment=names_without_labels": ["data.train=x", "model.student.name=x"],
    "experiment=topics_by_translation": ["data.train=x", "data.parallel=x", "model.student.name=x"],
    "debug=cpu": [],
    "debug=one_batch": [],
    "debug=overfit": [],
}
GLOBAL = "# @package _global_\n"


def write(folder: Path, name: str, text: str) -> list[str]:
    """Write a file of the user's folder; returns the options that use the folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return ["--config-dir", str(folder)]


def result(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit code of `train`, and the configuration or the message."""
    code = main(["train", *words, "--cfg", "job"])
    out, err = capsys.readouterr()
    return code, err or out


def test_an_experiment_of_ones_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = GLOBAL + "defaults:\n  - override /loss: cosine\ndata:\n  languages: [de, 'no']\noptimizer:\n  lr: 1e-5\n"
    options = write(tmp_path, "experiment/mine.yaml", text)
    code, out = result(capsys, *options, "experiment=mine", "trainer.epochs=9")
    shown = yaml.safe_load(out)
    assert code == 0
    assert shown["loss"] == {"kind": "cosine"} and shown["data"]["languages"] == ["de", "no"]
    assert shown["optimizer"]["lr"] == 1e-5 and shown["trainer"]["epochs"] == 9


def test_a_choice_and_a_whole_configuration_of_ones_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write(tmp_path, "loss/sharp.yaml", "# mine\nkind: contrastive\ntemperature: 0.01\n")
    options = write(tmp_path, "mine.yaml", "defaults:\n  - train\n  - override /loss: sharp\n  - _self_\nseed: 7\n")
    code, out = result(capsys, *options, "--config-name", "mine", "optimizer.lr=0.5")
    shown = yaml.safe_load(out)
    assert code == 0
    assert shown["loss"] == {"kind": "contrastive", "temperature": 0.01}
    assert shown["seed"] == 7 and shown["optimizer"]["lr"] == 0.5
    assert main(["train", *options, "loss=sharp", "--help"]) == 0, "whose files have no comments that the page knows"
    assert "\n  loss.temperature=0.01" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "data:\n  languages: [de, no]\n",
            "data.languages[1]: YAML reads no, off, yes and on as true or false (false)",
        ),
        ("data:\n  languages: no\n", 'quote the language: "no"'),
        ("data:\n  _target_: os.system\n", "data._target_: nothing is imported because a configuration names it"),
        ("_target_: os.system\n", "_target_: nothing is imported because a configuration names it"),
        ("model:\n  teacher:\n    _target_: torch.load\n    f: x\n", "model.teacher._target_: nothing is imported"),
        ("optimizer:\n  learning_rate: 1\n", "learning_rate: there is no such key; did you mean optimizer.lr?"),
        ("data:\n  languages: [de\n", 'bad.yaml", line 3'),
        ("seed: 1\nseed: 2\n", "found duplicate key seed"),
        ("defaults:\n  - override /los: mse\n", "los: there is no such key; did you mean loss?"),
        ("defaults:\n  - override /loss: mze\n", "loss=mze: there is no such choice"),
        ("seed: ${oc.env:MLEMBED_NOT_THERE}\n", "Environment variable 'MLEMBED_NOT_THERE' not found"),
        ("run:\n  name: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
    ],
)
def test_what_is_wrong_in_a_file_is_explained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, message: str
) -> None:
    code, err = result(capsys, *write(tmp_path, "experiment/bad.yaml", GLOBAL + text), "experiment=bad")
    assert code == 2
    assert message in err and "Traceback" not in err


def test_a_file_without_its_first_line_is_explained(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, err = result(capsys, *write(tmp_path, "experiment/bad.yaml", "seed: 1\n"), "experiment=bad")
    assert code == 2
    assert "the first line of such a file is '# @package _global_'" in err


def test_values_that_are_left_open_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    code, err = result(capsys, "experiment=pretrained_student")
    assert code == 2
    assert err.splitlines()[1:] == [
        "  - model.student.name: no value is given; write model.student.name=...",
        "  - data.train: no training data is given; write data.train=PATH",
    ]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_composes(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    given = RECIPES[recipe]
    code, out = result(capsys, recipe, *given)
    assert code == 0
    assert yaml.safe_load(out) != yaml.safe_load(result(capsys)[1])


def test_every_recipe_is_tried_above() -> None:
    from mlembed import config
    from mlembed.door.help_page import options_of

    assert sorted(RECIPES) == sorted(f"{group}={option}" for group in config.RECIPES for option in options_of(group))
