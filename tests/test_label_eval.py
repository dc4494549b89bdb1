"""`mlembed eval` and sweeps of runs with labels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from crashes import student_hash
from heads import ONE, write_classifier
from label_toys import label_command, label_folder, trained, with_parallel, write_pairs, write_tags
from toys import toy_sentences

from mlembed.cli import main

SHORT = ("task.fine_tuning.epochs=4", "trainer.epochs=1")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return label_folder(tmp_path_factory.mktemp("labels"))


@pytest.fixture(scope="session")
def run(folder: Path) -> Path:
    trained(label_command(folder, run=folder / "run"), with_parallel(folder), *SHORT)
    return folder / "run"


def evaluated(target: Path, to: Path, *more: str) -> dict[str, Any]:
    assert main(["eval", str(target), f"run.dir={to}", "device=cpu", *more]) == 0
    report: dict[str, Any] = json.loads((to / "report.json").read_text())
    assert list(report["systems"]) == ["student"]
    return report


def after(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "report.json").read_text())["systems"]["after"]["languages"]
    return found


def assert_close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for language, metrics in expected.items():
        for name, estimate in metrics.items():
            assert found[language][name] == pytest.approx(estimate, abs=1e-6)


def test_a_run_is_measured_again(run: Path, tmp_path: Path) -> None:
    report = evaluated(run, tmp_path / "again")
    assert_close(report["systems"]["student"]["languages"], after(run))
    assert report["rows"] == {language: {"labelled": 40} for language in ("en", "xx")}


def test_a_checkpoint_and_a_folder_are_measured(run: Path, folder: Path, tmp_path: Path) -> None:
    best = json.loads((run / "report.json").read_text())["metadata"]["best_step"]
    report = evaluated(run / "checkpoints" / f"step-{best}", tmp_path / "checkpoint")
    assert_close(report["systems"]["student"]["languages"], after(run))
    elsewhere = Path(shutil.copytree(run / "student", tmp_path / "student"))
    report = evaluated(elsewhere, tmp_path / "folder", f"data.test={folder / 'test.tsv'}")
    assert_close(report["systems"]["student"]["languages"], after(run))
    stage = evaluated(run / "teacher", tmp_path / "stage", f"data.test={folder / 'test.tsv'}")
    teacher = json.loads((run / "report.json").read_text())["systems"]["teacher"]["languages"]
    assert_close(stage["systems"]["student"]["languages"], teacher)


def test_a_run_is_measured_on_another_file(run: Path, folder: Path, tmp_path: Path) -> None:
    report = evaluated(run, tmp_path / "valid", f"data.test={folder / 'valid.tsv'}")
    assert report["rows"] == {language: {"labelled": 30} for language in ("en", "xx")}


def test_labels_that_the_model_does_not_know(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.tsv"
    bad.write_text((folder / "test.tsv").read_text().replace("\tpet\t", "\tpets\t", 1))
    line = next(at for at, one in enumerate(bad.read_text().splitlines(), start=1) if "\tpets\t" in one)
    assert main(["eval", str(run), f"data.test={bad}", f"run.dir={tmp_path / 'refused'}"]) == 3
    error = capsys.readouterr().err
    assert f"{bad}:{line}: " in error and "nearest known label 'pet'" in error
    report = evaluated(run, tmp_path / "skipped", f"data.test={bad}", "data.on_error=skip")
    assert sum(row["labelled"] for row in report["rows"].values()) == 79


@pytest.mark.slow
@pytest.mark.parametrize("languages", ["null", "[en]"])
def test_what_was_split_off_is_split_off_again(folder: Path, tmp_path: Path, languages: str) -> None:
    run = tmp_path / "run"
    more = ["data.validation=null", "data.test=null", "data.validation_size=20", "data.test_size=30", "seed=5"]
    more += [f"data.labelled_languages={languages}", "task.fine_tuning.epochs=4"]
    trained(label_command(folder, run=run, train="both.tsv"), *more)
    report = evaluated(run, tmp_path / "eval")
    assert_close(report["systems"]["student"]["languages"], after(run))
    assert report["rows"] == {language: {"labelled": 30} for language in ("en", "yy")}


def assert_eval_agrees(folder: Path, task: str, tmp_path: Path, more: Sequence[str]) -> None:
    run = tmp_path / "run"
    trained(label_command(folder, run=run, task=task), "task.fine_tuning.epochs=2", *more)
    report = evaluated(run, tmp_path / "eval")
    assert_close(report["systems"]["student"]["languages"], after(run))


@pytest.mark.slow
def test_tags(tmp_path: Path) -> None:
    assert_eval_agrees(write_tags(label_folder(tmp_path / "toys")), "token_classification", tmp_path, [])


@pytest.mark.slow
def test_several_labels(tmp_path: Path) -> None:
    folder = label_folder(tmp_path / "toys", several=True)
    assert_eval_agrees(folder, "classification", tmp_path, ["task.multi_label=true", "data.drop_leaks=false"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        ["task.architecture=bi_encoder"],
        ["task.architecture=cross_encoder"],
        ["task.answer=label", "trainer.metric=macro_f1"],
    ],
)
def test_pairs(tmp_path: Path, more: list[str]) -> None:
    folder = write_pairs(label_folder(tmp_path / "toys"), scores="task.answer=label" not in more, matching=False)
    assert_eval_agrees(folder, "pair", tmp_path, more)


def test_a_sweep(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = tmp_path / "sweep"
    command, *arguments = [one for one in label_command(folder, run=tmp_path) if not one.startswith("run.dir=")]
    given = [with_parallel(folder), *SHORT, f"hydra.sweep.dir={sweep}", f"run.root={tmp_path / 'runs'}"]
    assert main([command, "-m", *arguments, *given, "loss.temperature=1,4"]) == 0
    jobs = [json.loads((sweep / str(number) / "config.json").read_text()) for number in (0, 1)]
    assert [job["loss"]["temperature"] for job in jobs] == [1.0, 4.0]
    said = capsys.readouterr().out
    assert "loss.temperature" in said and "macro F1" in said
    values = [json.loads((sweep / str(number) / "report.json").read_text()) for number in (0, 1)]
    assert values[0]["systems"]["teacher"] == values[1]["systems"]["teacher"]
    assert student_hash(sweep / "0") != student_hash(sweep / "1")
    assert any(path.suffix == ".md" for path in sweep.iterdir())


def test_a_folder_without_a_run_is_measured_by_its_head(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    folder = write_classifier(tmp_path / "model", ONE)
    rows = [f"{text}\t{ONE.labels[at % 3]}\ten" for at, text in enumerate(toy_sentences(12))]
    (tmp_path / "test.tsv").write_text("\n".join(["text\tlabel\tlang", *rows]) + "\n", encoding="utf-8")
    for at, more in enumerate(([], ["task_kind=classification"])):
        run = tmp_path / f"eval-{at}"
        words = ["eval", str(folder), f"data.test={tmp_path}/test.tsv", f"run.dir={run}", "device=cpu", *more]
        assert main(words) == 0
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        assert report["systems"]["student"]["languages"]["en"]["accuracy"]["count"] == 12
