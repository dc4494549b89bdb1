"""Tab completion, asked as the shell asks, and in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlembed.cli import main
from mlembed.config import GROUPS
from mlembed.door.help_page import options_of


@pytest.fixture
def completed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """What is offered for a line whose end the cursor is at; words that are complete have a space after them."""

    def ask(line: str) -> list[str]:
        monkeypatch.setenv("COMP_LINE", line + " and what comes after the cursor")
        monkeypatch.setenv("COMP_POINT", str(len(line)))
        assert main(["-sc", "query=bash"]) == 0
        return capsys.readouterr().out.splitlines()

    return ask


def test_verbs_options_and_nothing_where_files_belong(completed) -> None:  # type: ignore[no-untyped-def]
    assert completed("mlembed ") == [
        "bench ",
        "cache ",
        "check ",
        "embed ",
        "eval ",
        "export ",
        "predict ",
        "push ",
        "report ",
        "runs ",
        "train ",
        "tune ",
    ]
    assert completed("mlembed cache ") == ["clear ", "ls "] and completed("mlembed cache clear --y") == ["--yes "]
    assert completed("mlembed tr") == ["train "]
    assert "--resume " in completed("mlembed train --") and "--multirun " in completed("mlembed train -")
    assert "--resume " not in completed("mlembed eval --")
    assert [verb for verb in ("check", "tune", "bench") if "--multirun " in completed(f"mlembed {verb} --")] == []
    assert completed("mlembed embed --o") == completed("mlembed export --o") == ["--output "]
    # The shell completes these with the names of files itself.
    for line in (
        "mlembed eval ",
        "mlembed eval ru",
        "mlembed train --resume ru",
        "mlembed embed ru",
        "mlembed cache clear ",
        "mlembed x ",
    ):
        assert completed(line) == []


def test_groups_and_keys_one_level_at_a_time(completed) -> None:  # type: ignore[no-untyped-def]
    assert completed("mlembed train lo") == ["loss.", "loss="]
    offered = completed("mlembed train ")
    assert {f"{group}=" for group in GROUPS["train"]} | {"seed=", "run.", "optimizer."} <= set(offered)
    assert "optimizer.lr=" in completed("mlembed train seed=1 optimizer.")
    assert "optimizer.kind=" not in completed("mlembed train optimizer.")
    assert completed("mlembed train data.col") == ["data.columns."]
    assert completed("mlembed train run.name=français data.columns.lan") == ["data.columns.lang="]
    assert completed("mlembed eval runs/x lo") == [], "evaluation has no loss"
    assert "bench.peers=" in completed("mlembed bench bench.") and "loss=" in completed("mlembed bench lo")


def test_values_are_choices_words_or_files(completed, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert completed("mlembed train loss=") == [f"loss={option} " for option in options_of("loss")]
    assert completed("mlembed train loss=mse,co") == ["loss=mse,contrastive ", "loss=mse,cosine "]
    assert completed("mlembed train optimizer.schedule=c") == [
        "optimizer.schedule=constant ",
        "optimizer.schedule=cosine ",
    ]
    assert completed("mlembed train data.drop_leaks=t") == ["data.drop_leaks=true "]
    (tmp_path / "data.tsv").touch()
    (tmp_path / "data").mkdir()
    begun = f"data.train={tmp_path}/da"
    assert completed(f"mlembed train {begun}") == [f"data.train={tmp_path}/data.tsv ", f"data.train={tmp_path}/data/"]
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").touch()
    assert "loss=mine " in completed(f"mlembed train --config-dir {tmp_path} loss=")


def test_only_known_shells_get_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh"):
        assert main(["-sc", f"install={shell}"]) == 0
        assert "complete -o default -o nospace -F _mlembed mlembed\n" in capsys.readouterr().out
    for words in (["-sc"], ["-sc", "install=tcsh"], ["-sc", "remove=bash"]):
        assert main(words) == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_in_a_real_bash() -> None:
    script = """
    eval "$(mlembed -sc install=bash)"
    complete -p mlembed
    try() {
        COMP_LINE="$1" COMP_POINT=${#1} COMPREPLY=()
        _mlembed
        printf '%s|' "${COMPREPLY[@]}"
        echo
    }
    try "mlembed tr"
    try "mlembed train loss=c"
    COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
    try "mlembed train loss=c"
    """
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    # bash replaces what follows the =, where the = parts its words.
    assert done.stdout.splitlines() == [
        "complete -o default -o nospace -F _mlembed mlembed",
        "train |",
        "contrastive |cosine |",
        "loss=contrastive |loss=cosine |",
    ]
