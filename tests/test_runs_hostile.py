"""Folders of runs that want to do harm, or are of another version: they are shown, and nothing in them is run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from stored_runs import listed, write_run

from mlembed.cli import main
from mlembed.runs.stored_run import read_run
from mlembed.runs.stored_sweep import find


def hostile_files(folder: Path) -> Mapping[str, Any]:
    """What somebody may have put in the place of a file -> how it comes there."""
    secret = folder / "secret.txt"
    secret.write_text('{"data": {}, "run": {}, "password": "geheim"}', encoding="utf-8")
    return {
        "link": lambda path: path.symlink_to(secret),
        "dead link": lambda path: path.symlink_to(folder / "nowhere"),
        "device": lambda path: path.symlink_to("/dev/zero"),
        "pipe": lambda path: os.mkfifo(path),
        "folder": lambda path: path.mkdir(),
        "huge": lambda path: path.open("wb").truncate(1 << 40),
        "deep": lambda path: path.write_text("[" * 100_000, encoding="utf-8"),
        "digits": lambda path: path.write_text("9" * 100_000, encoding="utf-8"),
        "bytes": lambda path: path.write_bytes(b"\xff\xfe\x00"),
        "empty": lambda path: path.write_text("", encoding="utf-8"),
        "list": lambda path: path.write_text("[1]", encoding="utf-8"),
        "yaml": lambda path: path.write_text("!!python/object/apply:os.system ['touch hit']", encoding="utf-8"),
    }


@pytest.mark.parametrize("name", ["config.json", "report.json"])
def test_a_file_that_is_something_else_breaks_its_run_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    hostile = hostile_files(tmp_path)
    for kind, put in hostile.items():
        write_run(tmp_path / "runs" / kind)
        (tmp_path / "runs" / kind / name).unlink()
        put(tmp_path / "runs" / kind / name)
    write_run(tmp_path / "runs" / "good")
    states = {Path(run["path"]).name: run for run in listed(capsys, "ls", str(tmp_path / "runs"))["runs"]}
    assert states.pop("good")["state"] == "finished"
    assert {kind for kind, run in states.items() if run["state"] == "broken"} == set(hostile), states
    assert all(name in run["why"] and len(run["why"]) < 200 for run in states.values())
    for kind in hostile:
        run = str(tmp_path / "runs" / kind)
        assert main(["runs", "show", run]) == 0
        # Results can be compared without a configuration, but not without results.
        compared = main(["runs", "compare", str(tmp_path / "runs" / "good"), run])
        assert compared == (0 if name == "config.json" else 2)
    out, err = capsys.readouterr()
    assert "geheim" not in out and "Traceback" not in out + err


@pytest.mark.parametrize("name", ["log.txt", "metrics.jsonl", "command.txt", "environment.json", "run.lock"])
def test_the_other_files_may_be_anything_too(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    for kind, put in hostile_files(tmp_path).items():
        run = write_run(tmp_path / "runs" / kind)
        (run / name).unlink(missing_ok=True)
        put(run / name)
        assert main(["runs", "show", str(run)]) == 0
    assert "geheim" not in capsys.readouterr().out
    assert {run["state"] for run in listed(capsys, "ls", str(tmp_path / "runs"))["runs"]} == {"finished"}


def test_values_of_any_kind_are_shown_and_nothing_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hit = tmp_path / "hit"
    evil = {
        "_target_": "os.mkdir",
        "path": str(hit),
        "hydra": {"callbacks": {"x": {"_target_": "os.mkdir", "path": str(hit)}}},
        "model": ["${oc.env:HOME}", {"kind": "../../../etc"}],
        "task": {"kind": "${oc.env:HOME}"},
        "loss": {"kind": "mse,cosine"},
        "trainer": 3,
        "\x1b[2Jkey": "\x1b]0;title\x07 <script>alert(1)</script> [red]",
        "optimizer": None,
    }
    write_run(tmp_path / "runs" / "evil\x1b[31m", **evil)
    write_run(tmp_path / "runs" / "good")
    page = tmp_path / "page.html"
    evil_path = str(tmp_path / "runs" / "evil\x1b[31m")
    compared = ["compare", evil_path, str(tmp_path / "runs" / "good")]
    for words in (["ls", str(tmp_path / "runs")], compared, ["show", evil_path]):
        assert main(["runs", *words]) == 0
        out, _ = capsys.readouterr()
        assert "\x1b" not in out and "\x07" not in out
        assert main(["runs", *words, "--json"]) == 0
        assert os.environ["HOME"] not in capsys.readouterr().out.replace(str(tmp_path), "")
        assert main(["runs", *words, "--html", str(page)]) == 0
        text = page.read_text(encoding="utf-8")
        assert "<script" not in text and "\x1b" not in text and "http:" not in text and "https:" not in text
        assert capsys.readouterr().err == f"page: {page}\n"
    assert "&lt;script&gt;" in text and "\\x1b[2Jkey" in text and not hit.exists()


def test_versions_that_are_older_or_newer_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "newer", invented={"key": 3})
    document = json.loads((run / "report.json").read_text(encoding="utf-8"))
    for row in document["systems"]["after"]["languages"].values():
        row["a_metric_of_tomorrow"] = {"value": "?"}
    (run / "report.json").write_text(json.dumps(document), encoding="utf-8")
    old = write_run(tmp_path / "older")
    (old / "config.json").write_text('{"data": {}, "model": {}}', encoding="utf-8")
    assert {one.state for one in find(tmp_path)} == {"finished"}
    shown = listed(capsys, "show", str(run))
    assert shown["different"]["invented.key"] == {"value": 3, "default": "(no such key in this version)"}
    assert listed(capsys, "show", str(old))["after"] == 0.5
    document["format"] = "mlembed-report/2"
    (run / "report.json").write_text(json.dumps(document), encoding="utf-8")
    assert read_run(run).state == "broken" and "Not a report of this version" in read_run(run).why
