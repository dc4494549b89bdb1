"""A sweep goes on when the same command is given again: whatever killed it, wherever (F24, F25)."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
from crashes import losses, run_to_end, slow, start, student_hash, wait_until_stopped
from toys import toy_command

from mlembed.cli import main
from mlembed.errors import ConfigError
from mlembed.run.sweep import finished_jobs
from mlembed.run.sweep_folder import SweepJob, find_sweep, hold_sweep, read_record

JOBS = 3
# Each job has one epoch of 8 steps, with checkpoints at 2, 4, 6 and 8.
STEPS = 8


def sweep_command(toys: Path, root: Path) -> list[str]:
    settings = ["trainer.epochs=1", "trainer.save_every=2", "trainer.progress=none", f"run.root={root}"]
    return [*toy_command(toys), *settings, "-m", "optimizer.lr=1e-3,1e-2,3e-2"]


def sweeps_in(root: Path) -> list[Path]:
    return sorted(root.glob("embedding-sweep-*"))


def unfinished(sweep: Path) -> list[str]:
    content = json.loads((sweep / "summary.json").read_text(encoding="utf-8"))
    assert len(content["jobs"]) + len(content["unfinished"]) == JOBS
    return list(content["unfinished"])


@pytest.fixture(scope="module")
def whole(toy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep that nothing interrupted."""
    root = tmp_path_factory.mktemp("whole")
    assert main(sweep_command(toy_folder, root)) == 0
    (sweep,) = sweeps_in(root)
    return sweep


@pytest.mark.parametrize(
    ("fault", "before"),
    [
        (f"step:{STEPS + 5}", "1 of 3"),
        slow("sweep.began", "0 of 3"),
        slow("sweep.job", "0 of 3"),
        slow("step", "0 of 3"),
        slow("sweep.job:2", "1 of 3"),
        slow("save.mid_write:6", "1 of 3"),
        slow("save.before_rename:7", "1 of 3"),
        slow("save.after_rename:8", "1 of 3"),
        slow("sweep.job:3", "2 of 3"),
    ],
)
def test_a_sweep_that_was_killed_goes_on(
    toy_folder: Path, tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str], fault: str, before: str
) -> None:
    """F24: finished jobs are not touched, the partial one is resumed to the same bits, the others are run."""
    command = sweep_command(toy_folder, tmp_path)
    assert run_to_end(command, output=tmp_path / "out.txt", fault=fault) == -signal.SIGKILL
    (sweep,) = sweeps_in(tmp_path)
    written = {path: path.stat().st_mtime_ns for job in finished_jobs(sweep) for path in (sweep / job["job"]).iterdir()}
    assert len(finished_jobs(sweep)) == int(before[0])
    assert main(command) == 0
    err = capsys.readouterr().err
    assert f"going on with the sweep in {sweep}: {before} jobs are finished" in err
    assert err.count("is finished already") == int(before[0])
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert sweeps_in(tmp_path) == [sweep] and unfinished(sweep) == []
    for job in map(str, range(JOBS)):
        assert student_hash(sweep / job) == student_hash(whole / job)
        assert losses(sweep / job) == losses(whole / job)
    if fault == f"step:{STEPS + 5}":
        assert f"resuming from {sweep}/1/checkpoints/step-4" in (sweep / "1" / "log.txt").read_text(encoding="utf-8")
    assert {path.name for path in sweep.iterdir()} == {path.name for path in whole.iterdir()}


@pytest.mark.parametrize("fault", [slow("sweep.end"), slow("sweep.picture")])
def test_a_sweep_that_was_killed_after_its_last_job_gets_its_summary(
    toy_folder: Path, tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    root = tmp_path / "runs"
    sweep = Path(shutil.copytree(whole, root / whole.name))
    for picture in sweep.glob("summary.*"):
        picture.unlink()
    command = sweep_command(toy_folder, root)
    assert run_to_end(command, output=tmp_path / "out.txt", fault=fault) == -signal.SIGKILL
    written = {path: path.stat().st_mtime_ns for path in sweep.glob("*/*")}
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert f"the sweep in {sweep} is finished already; for a new one give another run.name or hydra.sweep.dir" in err
    assert {path: path.stat().st_mtime_ns for path in sweep.glob("*/*")} == written, "nothing is run again"
    assert "Finished jobs of the sweep, best first" in out and f"picture: {sweep}/summary.png" in out
    assert sweeps_in(root) == [sweep] and {path.name for path in sweep.iterdir()} == {
        path.name for path in whole.iterdir()
    }


@pytest.mark.slow
def test_a_kill_before_the_record_is_written_loses_nothing(toy_folder: Path, tmp_path: Path) -> None:
    command = ["train", "-m", "seed=1,2", "data=files", f"data.train={tmp_path}/none", f"run.root={tmp_path}"]
    assert run_to_end(command, output=tmp_path / "out.txt", fault="sweep.made") == -signal.SIGKILL
    (left,) = sweeps_in(tmp_path)
    assert [path.name for path in left.iterdir()] == ["run.lock"]
    assert main(command) == 1, "there are no data"
    assert len(sweeps_in(tmp_path)) == 2 and [path.name for path in left.iterdir()] == ["run.lock"]


@pytest.mark.slow
def test_two_sweeps_at_once_have_folders_of_their_own(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """F18, as far as sweeps go; the folder of one that is running is nobody else's."""
    command = ["train", "-m", "seed=1,2", "data=files", f"data.train={tmp_path}/none", f"run.root={tmp_path}"]
    process = start(command, output=tmp_path / "out.txt", fault="sweep.began:1:SIGSTOP")
    try:
        wait_until_stopped(process)
        (first,) = sweeps_in(tmp_path)
        assert main(command) == 1
        (second,) = set(sweeps_in(tmp_path)) - {first}
        said = f"the same sweep is running in {first} (process {process.pid} on "
        assert said in capsys.readouterr().err and (second / "0").is_dir()
        assert main([*command, f"hydra.sweep.dir={first}"]) == 2
        assert f"{first} is in use by process {process.pid} on " in capsys.readouterr().err
        assert main(["runs", "ls", str(tmp_path)]) == 0
        assert "running 0/2" in capsys.readouterr().out
    finally:
        process.kill()
        process.join()
    # Neither is running now: the newest goes on.
    assert main(command) == 1
    newest = max(first, second)
    assert f"going on with the sweep in {newest}: 0 of 2 jobs are finished" in capsys.readouterr().err


def jobs_of(*labels: str, **settings: int) -> list[SweepJob]:
    return [SweepJob.of(label, {"label": label, "run": {"dir": "anywhere"}, **settings}) for label in labels]


def test_a_sweep_is_known_by_the_configurations_of_its_jobs(tmp_path: Path) -> None:
    stamps = [f"2026010{day}T000000Z-0123456{day}" for day in range(1, 5)]
    jobs = jobs_of("a=1", "a=2")
    for stamp in stamps[:3]:
        with hold_sweep(tmp_path / f"x-sweep-{stamp}", jobs, command="mlembed train -m a=1,2"):
            pass
    new = tmp_path / f"x-sweep-{stamps[3]}"
    found, running = find_sweep(new, jobs, stamp=stamps[3])
    assert (
        found is not None and found.folder == tmp_path / f"x-sweep-{stamps[2]}" and (found.finished, running) == (0, [])
    )
    for others in (jobs_of("a=1"), jobs_of("a=2", "a=1"), jobs_of("a=1", "a=2", seed=3), []):
        assert find_sweep(new, others, stamp=stamps[3]) == (None, [])
    assert find_sweep(tmp_path / f"y-sweep-{stamps[3]}", jobs, stamp=stamps[3]) == (None, [])
    assert find_sweep(tmp_path / "of my own", jobs, stamp=stamps[3]) == (None, [])
    assert find_sweep(tmp_path / "nowhere" / new.name, jobs, stamp=stamps[3]) == (None, [])
    shutil.move(tmp_path / f"x-sweep-{stamps[2]}", tmp_path / "elsewhere")
    (tmp_path / f"x-sweep-{stamps[2]}").symlink_to(tmp_path / "elsewhere")
    (tmp_path / f"x-sweep-{stamps[1]}" / "sweep.json").write_text("{", encoding="utf-8")
    found, _ = find_sweep(new, jobs, stamp=stamps[3])
    assert found is not None and found.folder == tmp_path / f"x-sweep-{stamps[0]}", (
        "links and damaged records do not count"
    )


def test_the_folder_of_another_sweep_is_refused(tmp_path: Path) -> None:
    with hold_sweep(tmp_path / "sweep", jobs_of("a=1", "a=2"), command="first"):
        pass
    refused = pytest.raises(ConfigError, match="of another sweep, whose job 1 is a=2; here it is a=3")
    with refused, hold_sweep(tmp_path / "sweep", jobs_of("a=1", "a=3"), command="second"):
        pass
    with hold_sweep(tmp_path / "sweep", jobs_of("a=1", "a=2", "a=3"), command="more of it"):
        pass
    with hold_sweep(tmp_path / "sweep", jobs_of("a=1"), command="less of it"):
        pass
    record = read_record(tmp_path / "sweep")
    assert record is not None and [job.label for job in record.jobs] == ["a=1", "a=2", "a=3"]
    assert record.command == "more of it"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="is the directory of one run"), hold_sweep(tmp_path / "run", [], command=""):
        pass


def test_secrets_are_not_in_the_record(tmp_path: Path) -> None:
    label = "data.train=https://me:secret@example.org/x"
    with hold_sweep(tmp_path / "sweep", jobs_of(label), command=f"mlembed train -m {label}"):
        pass
    assert "secret" not in (tmp_path / "sweep" / "sweep.json").read_text(encoding="utf-8")
    assert jobs_of(label) == jobs_of(label.replace("me:secret", "me:other"))
