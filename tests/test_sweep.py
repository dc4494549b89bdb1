"""Sweeps: all jobs are looked at before the first, failures do not stop the others, and a table ends them."""

from __future__ import annotations

import json
import math
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from toys import toy_command

from mlembed.cli import main
from mlembed.report.bootstrap import Estimate
from mlembed.report.report import Report
from mlembed.run.sweep import finished_value, print_summary, summarize

SWEEP_FILES = {
    *("multirun.yaml", "run.lock", "sweep.json"),
    *("summary.json", "summary.md", "summary.png", "summary.svg"),
}
PROBLEM = "the configuration has a problem:\n  - "


def toy_sweep(toys: Path, root: Path, *words: str) -> list[str]:
    return [*toy_command(toys), "model=copy", f"run.root={root}", "trainer.epochs=1", "-m", *words]


def sweeps_in(root: Path) -> list[Path]:
    return sorted(root.glob("embedding-sweep-*"))


def summary_of(sweep: Path) -> dict[str, Any]:
    content = json.loads((sweep / "summary.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def test_two_losses_leave_two_runs_and_a_table(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = toy_sweep(toy_folder, tmp_path, "loss=mse,cosine", "optimizer.lr=1e-2")
    assert main(command) == 0
    out, err = capsys.readouterr()
    (sweep,) = sweeps_in(tmp_path)
    assert {path.name for path in sweep.iterdir()} == {"0", "1", *SWEEP_FILES}
    summary = summary_of(sweep)
    assert {job["job"]: job["settings"] for job in summary["jobs"]} == {
        "0": {"loss.kind": "mse"},
        "1": {"loss.kind": "cosine"},
    }
    assert summary["unfinished"] == []
    for job in summary["jobs"]:
        report = Report.from_json((sweep / job["job"] / "report.json").read_text(encoding="utf-8"))
        assert job["value"] == job["means"]["retrieval"] == report.mean("retrieval")
        assert (sweep / job["job"] / "student" / "model.safetensors").is_file()
    assert [job["value"] for job in summary["jobs"]] == sorted((job["value"] for job in summary["jobs"]), reverse=True)
    table = out.split("Finished jobs of the sweep, best first")[1].splitlines()
    assert table[1].split() == ["job", "loss.kind", "retrieval", "cosine", "to", "teacher"]
    assert [row.split()[0] for row in table[3:5]] == [job["job"] for job in summary["jobs"]]
    assert "job 0 (loss=mse)" in err and "job 1 (loss=cosine)" in err
    check_command_of_a_job(sweep / "1", capsys)


def check_command_of_a_job(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A job's command.txt is the job alone, not the sweep."""
    words = shlex.split((run / "command.txt").read_text(encoding="utf-8").partition(" && ")[2])
    assert words[:2] == ["mlembed", "train"] and "-m" not in words and "--multirun" not in words
    assert main([*words[1:], "--cfg", "job"]) == 0
    again = yaml.safe_load(capsys.readouterr().out)
    stored = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert again["loss"] == {"kind": "cosine"}
    assert again | {"run": None} == stored | {"run": None}


def test_a_job_that_fails_lets_the_others_finish(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """F25."""
    data = f"data.train={tmp_path}/no such file.tsv,{toy_folder}/data.tsv"
    assert main(toy_sweep(toy_folder, tmp_path, data)) == 1
    out, err = capsys.readouterr()
    (sweep,) = sweeps_in(tmp_path)
    summary = summary_of(sweep)
    assert [job["job"] for job in summary["jobs"]] == ["1"] and summary["unfinished"] in ([], ["0"])
    assert "no such file" in err.split("mlembed: job 0 (data.train=")[1].split("\n")[0]
    again = f"The sweep in {sweep} tries them again with the same command"
    assert err.splitlines()[-1] == f"mlembed: 1 of the jobs failed; see above. {again}"
    assert "Finished jobs of the sweep, best first" in out and "Traceback" not in err
    shutil.copy(toy_folder / "data.tsv", tmp_path / "no such file.tsv")
    assert main(toy_sweep(toy_folder, tmp_path, data)) == 0
    err = capsys.readouterr().err
    assert f"going on with the sweep in {sweep}: 1 of 2 jobs are finished" in err
    assert f"{sweep}/1 is finished already" in err and f"{sweep}/0 is finished already" not in err
    assert [job["job"] for job in summary_of(sweep)["jobs"]] in (["0", "1"], ["1", "0"])
    assert sweeps_in(tmp_path) == [sweep]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer.lr=1e-3,-1"], f"optimizer.lr=-1: {PROBLEM}optimizer.lr: must be greater than 0.0, not -1"),
        (["loss=mse,cosine", "trainer.epochs=0"], f"{PROBLEM}trainer.epochs: must be 1 or more, not 0"),
        (["seed=1,2", "data.trian=x"], f"{PROBLEM}data.trian: there is no such key; did you mean data.train?"),
        (["loss=mse,mze"], "loss=mze: there is no such choice; the choices are "),
        (["run.dir=x", "seed=1,2"], "run.dir is of one run and cannot be given with -m; give run.root=FOLDER"),
        (["run.name=a,b"], "all jobs of a sweep lie in one folder, named by run.root and run.name"),
        (["--resume", "x", "seed=1,2"], "run.resume is of one run and cannot be given with -m"),
    ],
)
def test_a_mistake_in_any_job_is_told_before_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["train", "-m", f"run.root={tmp_path}", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"mlembed: {message}") and err.count("\n") == message.count("\n") + 1
    assert list(tmp_path.iterdir()) == []


def test_sweeps_are_refused_under_torchrun(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["train", "seed=1,2", "--multirun"]) == 2
    assert "start one torchrun command for each combination" in capsys.readouterr().err


def write_job(folder: Path, *, metric: str = "retrieval", system: str = "after", **values: float) -> None:
    """The files of a job: `seed` is its setting, the rest are metrics of the language de."""
    folder.mkdir(parents=True)
    config = {
        "seed": int(values.pop("seed", 0)),
        "trainer": {"metric": metric},
        "data": {},
        "run": {"dir": folder.name},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    scores = {"de": {name: Estimate(value, value, value, 10) for name, value in values.items()}}
    (folder / "report.json").write_text(Report({system: scores}, test_set="toys").to_json(), encoding="utf-8")


def test_the_summary_is_in_the_order_of_the_metric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, error in (("0", 0.5), ("1", 0.1), ("2", math.nan), ("10", 0.3)):
        write_job(tmp_path / name, metric="margin_error/de", seed=int(name), margin_error=error, retrieval=0.25)
    write_job(tmp_path / "3", metric="margin_error/de", system="before", seed=3, margin_error=0.0)
    jobs = summarize(tmp_path)
    assert [job["job"] for job in jobs] == ["1", "10", "0", "2"], "lower is better, and what is not defined comes last"
    assert summary_of(tmp_path)["unfinished"] == ["3"] and summary_of(tmp_path)["jobs"][-1]["value"] is None
    text = (tmp_path / "summary.md").read_text(encoding="utf-8").splitlines()
    assert text[2:5] == [
        "| job | seed | retrieval | margin error |",
        "| --- | --- | --- | --- |",
        "| 1 | 1 | 25.0 | 10.0 |",
    ]
    assert text[-1] == "| 2 | 2 | 25.0 | - |"
    print_summary(tmp_path)
    rows = capsys.readouterr().out.splitlines()
    assert rows[2].split() == ["job", "seed", "margin", "error", "de", "retrieval"]
    assert rows[4].split() == ["1", "1", "10.0", "25.0"]


def test_jobs_with_different_metrics_are_not_ranked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_job(tmp_path / "0", metric="margin_error", seed=1, margin_error=0.5, cosine=0.1)
    write_job(tmp_path / "1", metric="cosine", seed=1, margin_error=0.1, cosine=0.9)
    write_job(tmp_path / "2", metric="sts", seed=1, cosine=0.9)
    assert [job["job"] for job in summarize(tmp_path)] == ["0", "1", "2"]
    assert math.isnan(summarize(tmp_path)[2]["value"])
    print_summary(tmp_path)
    assert "trainer.metric" in capsys.readouterr().out


def test_the_sweep_of_an_evaluation_is_ranked_by_its_main_metric(tmp_path: Path) -> None:
    for name, value in (("0", 0.1), ("1", 0.2)):
        write_job(tmp_path / name, system="student", sts=value)
        config = {"target": "x", "seed": int(name), "data": {}, "run": {}}
        (tmp_path / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert [(job["job"], job["metric"], job["value"]) for job in summarize(tmp_path)] == [
        ("1", "sts", 0.2),
        ("0", "sts", 0.1),
    ]


def test_a_job_is_finished_with_the_same_settings_alone(tmp_path: Path) -> None:
    write_job(tmp_path / "0", seed=3, retrieval=0.5)
    config = json.loads((tmp_path / "0" / "config.json").read_text(encoding="utf-8"))
    assert finished_value(tmp_path / "0", config | {"run": {"dir": "elsewhere"}}) == 0.5
    assert finished_value(tmp_path / "0", config | {"seed": "auto"}) == 0.5
    assert finished_value(tmp_path / "0", config | {"seed": 4}) is None
    assert finished_value(tmp_path / "1", config) is None
    (tmp_path / "0" / "report.json").write_text("{}", encoding="utf-8")
    assert finished_value(tmp_path / "0", config) is None


def test_nothing_is_shown_where_nothing_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(tmp_path)
    assert capsys.readouterr().out == ""
    assert summary_of(tmp_path) == {"jobs": [], "unfinished": []}


@pytest.mark.slow
def test_a_launcher_may_run_jobs_in_other_processes(
    toy_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Hydra takes plugins from packages of this name alone.
    monkeypatch.syspath_prepend(Path(__file__).parent / "launcher")
    from hydra.core.plugins import Plugins
    from hydra_plugins.process_launcher import ProcessLauncher

    Plugins.instance().register(ProcessLauncher)
    launcher = tmp_path / "conf" / "hydra" / "launcher" / "processes.yaml"
    launcher.parent.mkdir(parents=True)
    launcher.write_text("_target_: hydra_plugins.process_launcher.ProcessLauncher\n", encoding="utf-8")
    data = f"data.train={tmp_path}/none.tsv,{toy_folder}/data.tsv"
    words = ["--config-dir", str(tmp_path / "conf"), "hydra/launcher=processes", data]
    assert main(toy_sweep(toy_folder, tmp_path, *words)) == 1
    out, err = capfd.readouterr()
    (sweep,) = sweeps_in(tmp_path)
    assert [job["job"] for job in summary_of(sweep)["jobs"]] == ["1"]
    assert "none.tsv: no such file" in err.split("mlembed: job 0 (")[1].split("\n")[0]
    assert err.splitlines()[-1].startswith(f"mlembed: the sweep in {sweep} failed: ")
    assert "Finished jobs of the sweep, best first" in out
