"""`mlembed runs`: states, sorting, groups, and the keys of its JSON."""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path

import pytest
from stored_runs import listed, write_config, write_run, write_sweep

from mlembed.cli import main
from mlembed.errors import Interrupted, Pruned
from mlembed.run.directory import BENCHMARK, MTEB_SCORES, PRUNED, hold
from mlembed.run.run_log import logging_to
from mlembed.runs.listing import duration
from mlembed.runs.reading import TAIL_BYTES, last_lines, last_step
from mlembed.runs.sheet import printable
from mlembed.runs.stored_run import read_run
from mlembed.runs.stored_sweep import StoredSweep, find, read_sweep

RUN_KEYS = {
    *("path", "state", "why", "verb", "task", "student", "languages", "steps", "metric", "before", "after"),
    *("seconds", "date"),
}
SWEEP_KEYS = {"path", "state", "command", "count", "finished", "metric", "best", "jobs"}
SHOW_KEYS = RUN_KEYS | {"choices", "different", "config", "commands", "data", "environment", "systems", "models", "log"}


def test_every_state_has_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "finished")
    write_config(tmp_path / "interrupted")
    (tmp_path / "interrupted" / "metrics.jsonl").write_text('{"step": 7}\n{"step": 8, "loss"', encoding="utf-8")
    write_config(tmp_path / "failed")
    logged = logging_to(tmp_path / "failed" / "log.txt", quiet=False)
    with pytest.raises(ValueError, match="no room"), logged:
        logging.getLogger("mlembed").info("training")
        raise ValueError("no room\nfor https://me:secret@example.org")
    write_config(tmp_path / "stopped")
    with pytest.raises(Interrupted), logging_to(tmp_path / "stopped" / "log.txt", quiet=True):
        raise Interrupted(15, "ended")
    write_config(tmp_path / "pruned")
    with pytest.raises(Pruned), logging_to(tmp_path / "pruned" / "log.txt", quiet=True):
        (tmp_path / "pruned" / PRUNED).write_text("{}", encoding="utf-8")
        raise Pruned("pruned after step 4: others do better at evaluation 1")
    for name, results in (("bench", BENCHMARK), ("mteb", MTEB_SCORES)):
        write_config(tmp_path / name)
        (tmp_path / name / results).write_text("{}", encoding="utf-8")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "run.lock").touch()
    write_config(tmp_path / "began")
    assert "no room" not in capsys.readouterr().err, "whoever catches it tells the terminal"
    with hold(tmp_path / "began"):
        found = {Path(run["path"]).name: run for run in listed(capsys, "ls", str(tmp_path))["runs"]}
    assert {name: run["state"] for name, run in found.items()} == {
        "finished": "finished",
        "interrupted": "interrupted",
        "stopped": "interrupted",
        "failed": "failed",
        "pruned": "pruned",
        "bench": "finished",
        "mteb": "finished",
        "half": "broken",
        "began": "running",
    }
    assert found["interrupted"]["steps"] == 7 and found["finished"]["steps"] == 20
    assert found["failed"]["why"] == "no room" and found["began"]["why"].startswith(f"process {os.getpid()} on ")
    assert found["half"]["why"] == "it was ended before its config.json was written"
    log = (tmp_path / "failed" / "log.txt").read_text(encoding="utf-8")
    assert "ERROR the run failed: no room" in log and "Traceback" in log and "secret" not in log.split("Traceback")[0]
    assert main(["runs", "show", str(tmp_path / "failed")]) == 0
    assert "Traceback" in capsys.readouterr().out
    with (tmp_path / "failed" / "log.txt").open("a", encoding="utf-8") as file:
        file.write("2026-01-01 00:00:00,000 INFO resuming\n")
    assert read_run(tmp_path / "failed").state == "interrupted", "it was started again"


def test_the_keys_of_json_are_frozen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run")
    sweep = write_sweep(tmp_path / "sweep", 0.2, 0.4)
    document = listed(capsys, "ls", str(tmp_path))
    assert set(document) == {"folder", "runs", "sweeps"}
    assert set(document["runs"][0]) == RUN_KEYS
    assert document["runs"][0] | {"path": "", "why": ""} == {
        "path": "",
        "state": "finished",
        "why": "",
        "verb": "train",
        "task": "embedding",
        "student": "transplant",
        "languages": ["de", "fr"],
        "steps": 20,
        "metric": "retrieval",
        "before": pytest.approx(0.1),
        "after": pytest.approx(0.5),
        "seconds": 65.0,
        "date": "2001-09-09T01:46:40Z",
    }
    assert set(document["sweeps"][0]) == SWEEP_KEYS
    assert set(document["sweeps"][0]["jobs"][0]) == RUN_KEYS | {"job", "label"}
    assert document["sweeps"][0] | {"jobs": []} == {
        "path": str(sweep),
        "state": "interrupted",
        "command": "mlembed train -m seed=0,1",
        "count": 3,
        "finished": 2,
        "metric": "retrieval",
        "best": str(sweep / "1"),
        "jobs": [],
    }
    assert [(job["job"], job["label"]) for job in document["sweeps"][0]["jobs"]] == [("1", "seed=1"), ("0", "seed=0")]
    shown = listed(capsys, "show", str(tmp_path / "run"))
    assert set(shown) == SHOW_KEYS
    assert shown["different"]["model.teacher.name"]["value"] == "a teacher" and shown["config"]["seed"] == 1
    assert shown["systems"]["after"]["languages"]["de"]["retrieval"]["value"] == pytest.approx(0.5)
    assert set(listed(capsys, "show", str(sweep))["jobs"][0]) == SHOW_KEYS | {"job", "label"}


def test_runs_are_sorted_by_date_or_by_a_metric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for at, (name, de, fr) in enumerate([("a", 0.5, 0.1), ("b", 0.3, 0.9), ("c", 0.4, 0.4)]):
        write_run(tmp_path / name, de=de, fr=fr, began=1e9 + at)
    write_config(tmp_path / "none")
    os.utime(tmp_path / "none" / "config.json", (1e8, 1e8))
    assert order(capsys, tmp_path) == ["c", "b", "a", "none"], "the newest first"
    assert order(capsys, tmp_path, "--sort", "retrieval") == ["b", "c", "a", "none"]
    assert order(capsys, tmp_path, "--sort", "retrieval/de") == ["a", "c", "b", "none"]
    assert order(capsys, tmp_path, "--sort", "margin_error/fr") == ["b", "c", "a", "none"], "lower is better"
    assert main(["runs", "ls", str(tmp_path), "--sort", "retrieval/de"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[2].split()[0] == "a" and rows[2].split()[-5:] == ["retrieval/de", "10.0", "50.0", "20", "65s"]
    assert main(["runs", "ls", str(tmp_path), "--sort", "retreival"]) == 2
    assert "Did you mean 'retrieval'?" in capsys.readouterr().err


def order(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> list[str]:
    return [Path(run["path"]).name for run in listed(capsys, "ls", str(folder), *words)["runs"]]


def test_a_sweep_is_a_group_with_its_best_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(tmp_path / "x-sweep-20260101T000000Z-01234567", 0.2, 0.4)
    write_run(tmp_path / "other", de=0.3, fr=0.3)
    assert main(["runs", "ls", str(tmp_path), "--sort", "retrieval"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:6]]
    assert rows[0][:6] == ["x-sweep-20260101T000000Z-01234567:", "best", "is", "1", "interrupted", "2/3"]
    assert [row[0] for row in rows] == ["x-sweep-20260101T000000Z-01234567:", "1", "0", "other"]
    assert rows[1][:2] == ["1", "seed=1"] and "40.0" in rows[0] and "40.0" in rows[1] and "20.0" in rows[2]


def test_runs_are_found_below_a_folder_but_models_and_links_are_not(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "b" / "run")
    write_run(tmp_path / "one" / "two" / "three" / "too deep")
    write_run(tmp_path / ".hidden")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "linked run").symlink_to(tmp_path / "a" / "b" / "run")
    assert [one.path.relative_to(tmp_path).as_posix() for one in find(tmp_path)] == ["a/b/run"]
    (named,) = find(tmp_path / "linked run")
    assert named.path.name == "linked run", "what is named is followed"


def test_a_sweep_of_an_older_version_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        write_run(tmp_path / "sweep" / str(seed), seed=seed)
    (tmp_path / "sweep" / "multirun.yaml").write_text("!!python/object/apply:os.system ['false']", encoding="utf-8")
    (sweep,) = find(tmp_path)
    assert isinstance(sweep, StoredSweep) and (sweep.state, sweep.count, sweep.command) == ("finished", 2, "")
    assert main(["runs", "show", str(tmp_path / "sweep")]) == 0
    assert "finished 2/2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ls", "nowhere"], "there is no folder nowhere; give the one that runs lie in: mlembed runs ls FOLDER"),
        (["show", "{root}"], "{root} is neither a run nor a sweep; see mlembed runs ls {root}"),
        (["compare", "{root}/run"], "two finished runs are needed to compare; there is 1"),
        (["compare", "{root}/run", "{root}/run"], "two finished runs are needed to compare; there is 1"),
        (["compare", "{root}/run", "{root}/empty"], "there is neither a run nor a sweep in {root}/empty"),
        (["ls", "{root}", "--html", "{root}/no/page.html"], "--html: {root}/no/page.html cannot be written"),
    ],
)
def test_mistakes_have_their_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    write_run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    assert main(["runs", *(word.format(root=tmp_path) for word in words)]) == 2
    assert capsys.readouterr().err.startswith(f"mlembed: {message.format(root=tmp_path)}")


def test_the_end_of_a_long_file_is_enough(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "text": "x" * 100}) for step in range(2000)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\nnot JSON\n[1]\n", encoding="utf-8")
    assert last_step(tmp_path) == 1999
    read, whole = sum(map(len, last_lines(tmp_path / "metrics.jsonl"))), (tmp_path / "metrics.jsonl").stat().st_size
    assert read < TAIL_BYTES < whole
    assert last_step(tmp_path / "nowhere") is None


def test_texts_and_times_are_for_people() -> None:
    assert printable("é 日本 \x1b[2J\u202e\n") == "é 日本 \\x1b[2J\\x202e\\x0a"
    times = {45.4: "45s", 99: "99s", 130: "2m", 5900: "98m", 7260: "2h01", math.inf: "-", math.nan: "-"}
    assert {seconds: duration(seconds) for seconds in times} == times


def test_a_study_whose_other_trials_were_pruned_is_finished(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "first-sweep-1", 0.5)
    write_config(sweep / "1")
    (sweep / "1" / PRUNED).write_text("{}", encoding="utf-8")
    found = read_sweep(sweep)
    assert [job.state for job in found.jobs] == ["finished", "pruned"] and found.state == "finished"
