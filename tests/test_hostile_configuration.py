"""A configuration that comes from somebody else, and words that lead nowhere: refused, and nothing is run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mlembed.cli import main
from mlembed.errors import USAGE, ConfigError
from mlembed.run.start import read_stored_config, train_config

MIB = 2**20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"data": {}, "data": {}, "run": {}}', "'data' is there twice"),
        ('{"data": ' + "[" * 100_000 + "]" * 100_000 + ', "run": {}}', "nested too deeply"),
        ('{"data": {"x": "\\ud800"}, "run": {}}', "not valid Unicode"),
        ('{"data": {}, "run": {}, "seed": ' + "9" * 5000 + "}", "digits"),
        ("{}" + " " * 2 * MIB, "too large"),
    ],
)
def test_a_configuration_that_is_none(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_stored_config(tmp_path)


def test_a_configuration_that_never_ends(tmp_path: Path) -> None:
    (tmp_path / "config.json").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="not a plain file"):
        read_stored_config(tmp_path)
    (tmp_path / "config.json").unlink()
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ConfigError, match="not a plain file"):
        read_stored_config(tmp_path)


def test_a_configuration_neither_imports_nor_reads_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "told")
    monkeypatch.setattr(os, "system", lambda command: (_ for _ in ()).throw(AssertionError("it was run")))
    plain = {"run": {"name": "${oc.env:SECRET}"}, "data": {"_target_": "os.system", "command": "true"}}
    (tmp_path / "config.json").write_text(json.dumps({**plain, "_target_": "os.system", "hydra": {"callbacks": {}}}))
    with pytest.raises(ConfigError) as caught:
        train_config({"run": {"resume": str(tmp_path)}}, ["run.resume"])
    said = str(caught.value)
    assert "told" not in said
    assert "_target_: nothing is imported because a configuration names it" in said
    assert "hydra: there is no such key" in said


@pytest.mark.parametrize(
    "words",
    [
        ["train", "x" * 5000],
        ["train", "--config-dir", "x" * 5000],
        ["train", "--resume", "x" * 5000],
        ["eval", "x" * 5000],
        ["train", "x" * 5000 + "=1"],
        ["train", "seed=" + "9" * 5000, "--cfg", "job"],
        ["train", "run.name=" + "[" * 500 + "]" * 500, "--cfg", "job"],
        ["train", "run.name=a\udcff", "--cfg", "job"],
        ["train", ".".join(["run"] * 500) + "=1"],
        ["train", "data.languages.languages=[de]", "--cfg", "job"],
        ["train", "+model._target_=os.system", "--cfg", "job"],
    ],
    ids=lambda words: f"{words[0]} {words[1][:20]}",
)
def test_words_that_are_refused_without_a_traceback(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == USAGE
    said = capsys.readouterr().err
    assert said.startswith("mlembed: ")
    assert "Traceback" not in said
