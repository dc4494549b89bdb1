"""`mlembed tune`: trials are runs, a study goes on after a kill, and processes share it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from crashes import run_to_end, start, student_hash
from toys import toy_command

pytest.importorskip("optuna")

from optuna.trial import TrialState

from mlembed.cli import main
from mlembed.config import TuneConfig
from mlembed.config_door import validate
from mlembed.errors import ConfigError
from mlembed.run.directory import METRICS
from mlembed.tune.pruning import best_value, evaluations
from mlembed.tune.settings import lasting
from mlembed.tune.storage import open_storage
from mlembed.tune.study import Study, Taken

NO_SPACE = [f"space.optimizer.{key}=null" for key in ("warmup", "weight_decay", "schedule", "lr")]


def command(toys: Path, root: Path, *words: str, rates: str = "") -> list[str]:
    """A study of toy trials; its space is the learning rate alone, or some rates."""
    rate = f"{{kind:choice,choices:[{rates}]}}" if rates else "{kind:float,low:1e-4,high:1e-1,log:true}"
    given = [word for word in toy_command(toys)[1:] if not word.startswith(("run.", "trainer.epochs"))]
    space = [*NO_SPACE[:-1], f"space.optimizer.lr={rate}"]
    return ["tune", *given, *space, f"run.root={root}", "trainer.epochs=1", "trainer.progress=none", *words]


def study_config(*, trials: int = 3, storage: str | None = None, name: str = "study") -> TuneConfig:
    """A study of the built-in demonstration, which is not run."""
    from hydra import compose, initialize_config_module

    with initialize_config_module("mlembed.conf", version_base="1.3"):
        composed = compose("tune", overrides=["task=embedding"])
    from mlembed.door.composed import to_plain
    from mlembed.tune.settings import flattened

    plain = to_plain(composed)
    plain["space"] = flattened(plain["space"])
    plain["tune"] |= {"trials": trials, "storage": storage}
    plain["run"]["name"] = name
    return validate(plain, TuneConfig)


def states(study: Study) -> dict[int, str]:
    return {trial.number: trial.state.name for trial in study.trials()}


def take(study: Study) -> Taken:
    taken = study.take()
    assert taken is not None
    return taken


def summary(folder: Path) -> list[dict[str, Any]]:
    trials = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["trials"]
    assert isinstance(trials, list)
    return trials


def test_processes_share_trials_and_take_over_those_that_were_left(tmp_path: Path) -> None:
    config = study_config(trials=3)
    one, other = Study(config, tmp_path), Study(config, tmp_path)
    first, second = take(one), take(other)
    assert [first.trial.number, second.trial.number] == [0, 1] and first.values != second.values
    assert first.values == {
        "optimizer.lr": 2e-4,
        "optimizer.warmup": 0.05,
        "optimizer.weight_decay": 0.01,
        "optimizer.schedule": "linear",
    }, "the first has the values of the configuration"
    first.close()  # as the system does it when the process ends
    again = take(other)
    assert (again.trial.number, again.goes_on, again.values) == (0, True, first.values)
    third = take(one)
    assert third.trial.number == 2 and not third.goes_on
    assert one.take() is None and other.take() is None, "no trial twice, and no more than there are to be"
    other.tell(again, TrialState.COMPLETE, value=0.5)
    third.close()
    assert take(one).trial.number == 2
    assert states(one) == {0: "COMPLETE", 1: "RUNNING", 2: "RUNNING"}


def test_a_study_that_was_left_draws_the_same_as_one_that_was_not(tmp_path: Path) -> None:
    values = []
    for folder, is_left in ((tmp_path / "a", False), (tmp_path / "b", True)):
        study = Study(study_config(trials=4), folder)
        drawn = []
        for value in (0.1, 0.3, 0.2):
            if is_left:
                take(study).close()
                study = Study(study_config(trials=4), folder)
            taken = take(study)
            drawn.append(taken.values)
            study.tell(taken, TrialState.COMPLETE, value=value)
            taken.close()
        values.append(drawn)
    assert values[0] == values[1] and len({str(one) for one in values[0]}) == 3


def test_a_database_is_shared_by_folders_that_do_not_see_each_other(tmp_path: Path) -> None:
    config = study_config(trials=2, storage=f"sqlite:///{tmp_path}/studies.db")
    here, there = Study(config, tmp_path / "here"), Study(config, tmp_path / "there")
    first = take(there)
    first.close()
    second = take(here)
    assert second.trial.number == 1, "a trial whose folder is out of reach is left to its machine"
    assert here.take() is None
    assert take(there).trial.number == 0


def test_more_trials_may_be_asked_for_and_other_settings_may_not(tmp_path: Path) -> None:
    study = Study(study_config(trials=1), tmp_path)
    study.tell(take(study), TrialState.COMPLETE, value=0.5)
    assert study.take() is None
    longer = study_config(trials=2)
    assert take(Study(longer, tmp_path)).trial.number == 1
    optimizer = longer.optimizer.model_copy(update={"max_grad_norm": 2.0})
    with pytest.raises(ConfigError, match=r"optimizer.max_grad_norm: was 1.0, is now 2.0\n.*give another run.name"):
        Study(longer.model_copy(update={"optimizer": optimizer}), tmp_path)
    trainer = longer.trainer.model_copy(update={"log_every": 3})
    assert lasting(longer) == lasting(longer.model_copy(update={"trainer": trainer}))


def test_storages_that_cannot_be_opened_and_half_a_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tune.storage: nosuch://<redacted>@host/db cannot be opened: "):
        open_storage("nosuch://me:secret@host/db", tmp_path)
    study = Study(study_config(storage=str(tmp_path / "own.journal")), tmp_path / "study")
    take(study).close()
    with (tmp_path / "own.journal").open("a", encoding="utf-8") as file:
        file.write('{"op_code":')
    again = Study(study_config(storage=str(tmp_path / "own.journal")), tmp_path / "study")
    assert take(again).trial.number == 0 and take(again).trial.number == 1


def test_a_run_is_scored_by_its_best_evaluation_on_the_validation_set(tmp_path: Path) -> None:
    records = [
        {"step": 0, "value": 0.9, "evaluation": {}, "best_step": None},
        {"step": 1, "loss": 0.1},
        {"step": 1, "value": 0.3, "evaluation": {}, "best_step": 1},
        {"step": 2, "value": 0.2, "evaluation": {}, "best_step": 1},
    ]
    (tmp_path / METRICS).write_text("".join(f"{json.dumps(one)}\n" for one in records), encoding="utf-8")
    assert best_value(tmp_path) == 0.3 and len(evaluations(tmp_path)) == 2
    assert best_value(tmp_path / "none") != best_value(tmp_path / "none"), "nan"


def test_a_study_with_good_bad_and_failing_trials(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pruner = ["tune.pruner.startup_trials=1", "tune.pruner.warmup_evaluations=0", "trainer.evaluate_every=4"]
    words = [*pruner, "optimizer.lr=1e-2", "tune.trials=4", "tune.seed=1"]
    assert main(command(toy_folder, tmp_path, *words, rates="1e-2,1e-12,1e30")) == 0
    out, err = capsys.readouterr()
    folder = tmp_path / "study"
    found = {row["settings"]["optimizer.lr"]: row for row in reversed(summary(folder))}
    assert {rate: row["state"] for rate, row in found.items()} == {1e-2: "finished", 1e-12: "pruned", 1e30: "failed"}
    assert "not finite" in found[1e30]["reason"] and " failed; the best is trial 0" in err.splitlines()[-1]
    pruned = json.loads((folder / f"trial-{found[1e-12]['trial']:03d}" / "pruned.json").read_text(encoding="utf-8"))
    assert pruned == {"step": 4, "evaluation": 1, "value": found[1e-12]["value"]}
    best = json.loads((folder / "best.json").read_text(encoding="utf-8"))
    assert (best["settings"], best["trial"], best["run"]) == ({"optimizer.lr": 0.01}, 0, str(folder / "trial-000"))
    assert best["value"] == best_value(folder / "trial-000") and 0 <= best["test"] <= 1
    kept = sorted(path.parent.name for path in folder.glob("trial-*/student"))
    assert kept == ["trial-000"] and not (folder / "trial-001" / "checkpoints").exists(), "keep=best"
    assert "Trials of the study, best retrieval first" in out and "best retrieval first" in text(folder / "summary.md")
    check_best_command(best["command"], folder / "trial-000", tmp_path / "again")
    before = summary(folder)
    assert main(command(toy_folder, tmp_path, *words, rates="1e-2,1e-12,1e30")) == 0
    assert summary(folder) == before, "a study that is done is shown again, and nothing is run"


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def check_best_command(words: str, run: Path, again: Path) -> None:
    """best.json says how to train the best run again; it gives the same student."""
    assert main([*shlex.split(words)[1:], f"run.dir={again}"]) == 0
    assert student_hash(again) == student_hash(run)
    assert text(run / "command.txt").rstrip().endswith(f"{words} run.dir={run}")


@pytest.mark.slow
def test_a_study_in_which_everything_fails_ends_early(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(toy_folder, tmp_path, "optimizer.lr=1e30", rates="1e30,1e31")) == 1
    assert "the first 3 trials failed" in capsys.readouterr().err
    assert [row["state"] for row in summary(tmp_path / "study")] == ["failed"] * 3


def test_what_no_other_trial_could_do_better_ends_the_study(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command(toy_folder, tmp_path, "tune.timeout=1000", f"data.train={tmp_path}/none.tsv")
    assert main(words) == 3
    assert "none.tsv" in capsys.readouterr().err
    assert not (tmp_path / "study" / "summary.json").exists()


@pytest.mark.slow
def test_a_killed_study_finds_what_one_finds_that_was_not_killed(toy_folder: Path, tmp_path: Path) -> None:
    words = ["tune.trials=3", "tune.random_trials=1", "trainer.save_every=2", "trainer.evaluate_every=4"]
    words += ["tune.keep=all"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(command(toy_folder, whole, *words)) == 0
    output = tmp_path / "output.txt"
    # In the second trial's training, by a kill; then in the third one's evaluation, by a signal that lets it save.
    assert run_to_end(command(toy_folder, killed, *words), output=output, fault="step:12") == -9
    assert run_to_end(command(toy_folder, killed, *words), output=output, fault="evaluation:4:SIGTERM") == 143
    assert run_to_end(command(toy_folder, killed, *words), output=output) == 0
    assert "goes on: optimizer.lr=" in text(output)
    rows = [{row["trial"]: row for row in summary(root / "study")} for root in (whole, killed)]
    assert rows[0].keys() == rows[1].keys() == {0, 1, 2}
    for number, row in rows[0].items():
        other = rows[1][number]
        assert [row[key] for key in ("state", "value", "settings", "evaluations")] == [
            other[key] for key in ("state", "value", "settings", "evaluations")
        ]
        if row["state"] == "finished":
            names = [root / "study" / f"trial-{number:03d}" for root in (whole, killed)]
            assert student_hash(names[0]) == student_hash(names[1])


@pytest.mark.slow
def test_two_processes_share_one_study(toy_folder: Path, tmp_path: Path) -> None:
    words = command(toy_folder, tmp_path, "tune.trials=6", "tune.pruner.kind=none")
    outputs = [tmp_path / "one.txt", tmp_path / "other.txt"]
    processes = [start(words, output=output) for output in outputs]
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, 0]
    rows = summary(tmp_path / "study")
    assert sorted(row["trial"] for row in rows) == list(range(6)) and {row["state"] for row in rows} == {"finished"}
    assert len({row["settings"]["optimizer.lr"] for row in rows}) == 6
    starts = [len(text(tmp_path / "study" / f"trial-{number:03d}" / "command.txt").splitlines()) for number in range(6)]
    assert starts == [1] * 6, "no trial was run twice"
    shares = [len(re.findall(r"^trial \d+: ", text(output), re.MULTILINE)) for output in outputs]
    assert sum(shares) == 6 and min(shares) >= 1
