"""The name of a model: a folder, a place in a package, or a name on a hub that may not be there."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from toys import write_toy_model

from mlembed.errors import USAGE, ConfigError
from mlembed.models.folder import model_folder

ASK = """
import sys
from mlembed.models import folder
folder.HUB_SECONDS = 1
try:
    print(folder.model_folder(sys.argv[1], key="model.teacher.name"))
except folder.ConfigError as error:
    sys.exit(f"{error.exit_code}: {error}")
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "there is no folder ./nowhere"),
        ("~/no where", "there is no folder"),
        ("a/b/c", "there is no folder a/b/c"),
        ("two words", "neither a folder nor a name on the hub"),
        ("package:mlembed/nothing", "has no 'nothing'"),
        ("nobody/nothing", r"model\.teacher\.name: nobody/nothing is not a folder, and .*hub.*HF_HUB_OFFLINE"),
        ("nothing", "is not a folder, and the hub does not give it"),
    ],
)
def test_names_of_nothing(name: str, message: str) -> None:
    started = time.perf_counter()
    with pytest.raises(ConfigError, match=message) as caught:
        model_folder(name, key="model.teacher.name")
    assert caught.value.exit_code == USAGE
    assert time.perf_counter() - started < 5


def test_folders_and_what_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toy_model(tmp_path / "my model=1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("my model=1", "./my model=1", str(tmp_path / "my model=1"), "~/my model=1"):
        assert model_folder(name, key="k").resolve() == tmp_path / "my model=1"
    (tmp_path / "run").mkdir()
    (tmp_path / "my model=1").rename(tmp_path / "run" / "student")
    with pytest.raises(ConfigError, match=r"run is not a model folder.*did you mean run/student\?"):
        model_folder("run", key="k")


def ask(name: str, **environment: str) -> tuple[str, float]:
    """Look a name up in a process of its own, since the library reads its settings when it is imported."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", ASK, name],
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr, time.perf_counter() - started


@pytest.fixture
def silent_hub() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_hub_that_does_not_answer_is_not_waited_for(tmp_path: Path, silent_hub: str) -> None:
    said, seconds = ask("somebody/model", HF_ENDPOINT=silent_hub, HF_HOME=str(tmp_path))
    assert said.startswith("2: model.teacher.name: somebody/model is not a folder, and the hub does not give it"), said
    assert "imeout" in said and seconds < 30


def test_a_model_in_the_cache_needs_no_hub(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        commit = "0" * 40
        cached = tmp_path / "hub" / "models--somebody--model"
        write_toy_model(cached / "snapshots" / commit)
        (cached / "refs").mkdir()
        (cached / "refs" / "main").write_text(commit)
        for environment in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": nobody}):
            said, _ = ask("somebody/model", HF_HOME=str(tmp_path), **environment)
            assert said.strip() == str(cached / "snapshots" / commit)


def test_a_folder_that_is_called_nearly_so_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is asked of the hub."""
    (tmp_path / "runs" / "first").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no folder runs/frist; did you mean runs/first\?"):
        model_folder("runs/frist", key="target")
