"""The run directory: its name, its lock, and its files; nothing here needs torch."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlembed.errors import ConfigError
from mlembed.run.directory import RunDirectory, command_line, hold, new_run_path, redact
from mlembed.run.run_log import logging_to


def test_twenty_runs_in_one_second_get_twenty_directories(tmp_path: Path) -> None:
    with ThreadPoolExecutor(20) as pool:
        paths = list(pool.map(lambda _: new_run_path(root=tmp_path / "runs", name="été"), range(20)))
    assert len(set(paths)) == 20
    assert sorted(paths) == sorted((tmp_path / "runs").iterdir())
    assert all(re.fullmatch(r"été-\d{8}T\d{6}Z-[0-9a-f]{4}", path.name) for path in paths)


def test_a_command_that_was_a_module_can_be_given_again() -> None:
    words = ["/site/mlembed/__main__.py", "train", "data.train=a b.tsv"]
    assert command_line(words) == f"{sys.executable} -m mlembed train 'data.train=a b.tsv'"
    assert command_line(["/bin/mlembed", "train"]) == "/bin/mlembed train"


def test_twenty_processes_get_twenty_directories(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom mlembed.run.directory import new_run_path\n"
        "print(new_run_path(root=Path(sys.argv[1]), name='run'))\n"
        "assert 'torch' not in sys.modules\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(20)
    ]
    paths = {process.communicate()[0].strip() for process in processes}
    assert all(process.returncode == 0 for process in processes)
    assert {Path(path) for path in paths} == set(tmp_path.iterdir()) and len(paths) == 20


def test_a_root_that_is_a_file_is_an_error_for_people(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"run\.root: .* cannot be made"):
        new_run_path(root=tmp_path / "file", name="run")


def test_a_directory_is_held_by_one(tmp_path: Path) -> None:
    refused = pytest.raises(ConfigError, match=f"in use by process {os.getpid()} on ")
    with hold(tmp_path / "run") as run, refused, hold(run.path):
        pass
    with hold(tmp_path / "run"):
        assert (tmp_path / "run" / "run.lock").read_text().startswith(f"process {os.getpid()} on ")
    with pytest.raises(ValueError, match="ended"), hold(tmp_path / "run"):
        raise ValueError("ended")
    assert (tmp_path / "run" / "run.lock").read_text() == ""


def test_the_lock_of_a_longer_name_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text("process 123456789 on a.host.with.a.very.long.name.indeed")
    with hold(tmp_path):
        assert re.fullmatch(rf"process {os.getpid()} on \S+", (tmp_path / "run.lock").read_text())
        assert "indeed" not in (tmp_path / "run.lock").read_text()


def test_metrics_wait_while_the_disk_is_full(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A size limit stands for the disk; what did not fit is written first when there is room."""
    run = RunDirectory(tmp_path)
    run.add_metrics({"step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        for step in (2, 3, 4):
            run.add_metrics({"step": step})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "metrics.jsonl").stat().st_size == 20
    run.add_metrics({"step": 5})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert caplog.text.count("CANNOT BE WRITTEN") == 1


def test_metrics_are_json_whatever_was_measured(tmp_path: Path) -> None:
    RunDirectory(tmp_path).add_metrics({"step": 1, "loss": math.nan, "losses": {"a": math.inf, "b": (1.0, math.nan)}})
    line = (tmp_path / "metrics.jsonl").read_text()
    assert line == '{"step": 1, "loss": null, "losses": {"a": null, "b": [1.0, null]}}\n'


def test_a_log_on_a_full_disk_is_given_up_quietly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("mlembed")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with logging_to(tmp_path / "log.txt", quiet=False):
        log.info("first")
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        try:
            log.info("second")
            log.info("third")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert capsys.readouterr().err == "first\nsecond\nthird\n"


def test_metrics_of_what_is_done_again_are_forgotten(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.forget_metrics_after(0, evaluated_step=-1)
    assert not (tmp_path / "metrics.jsonl").exists()
    for record in ({"step": 0, "evaluation": {}}, {"step": 1}, {"step": 2}, {"step": 2, "evaluation": {}}, {"step": 3}):
        run.add_metrics(record)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'[1]\n{"loss": 1}\n{"step": null}\n\xff\n{"step": 4, "lo')
    run.forget_metrics_after(2, evaluated_step=0)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 0, "evaluation": {}}, {"step": 1}, {"step": 2}]


def test_secrets_are_not_written(tmp_path: Path) -> None:
    secret = "hf_" + "a" * 30
    RunDirectory(tmp_path).write_start({"data": f"https://me:{secret}@host/x", "token": secret, "name": "été"})
    text = (tmp_path / "config.json").read_text(encoding="utf-8")
    assert secret not in text and "me:" not in text and text.count("<redacted>") == 2 and "été" in text
    assert redact("a:b@c http://host:80/x") == "a:b@c http://host:80/x"
