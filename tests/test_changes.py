"""A run goes on with other settings, data or models only when that is allowed, and then they really count."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from crashes import (
    STEPS,
    assert_same_run,
    copy_of_interrupted,
    evaluations,
    losses,
    records,
    reference,
    run_with_fault,
    seal,
    survival_command,
)
from toys import write_toy_data, write_toy_model

from mlembed.cli import main
from mlembed.run.checkpoint import verify

ALLOW = "run.allow_changes=true"


@pytest.fixture
def run(toy_folder: Path, tmp_path: Path) -> Path:
    """A run that was killed in step 11, in the second of two epochs of 8 steps; its newest checkpoint is of step 9."""
    return copy_of_interrupted(toy_folder, tmp_path / "run")


def state_of(checkpoint: Path) -> dict[str, object]:
    return dict(json.loads((checkpoint / "state.json").read_text()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("optimizer.lr=5e-4", "optimizer.lr: was 0.001, is now 0.0005"),
        ("trainer.batch_tokens=512", "trainer.batch_tokens: was 256, is now 512"),
        ("trainer.accumulate=2", "trainer.accumulate: was 1, is now 2"),
        ("seed=43", "seed: was 42, is now 43"),
        ("loss=cosine", 'loss.kind: was "mse", is now "cosine"'),
        ("data.languages=[xx]", 'data.languages: was ["xx", "yy"], is now ["xx"]'),
        ("model.student.dropout=0.2", "model.student.dropout: was 0.1, is now 0.2"),
    ],
)
def test_changed_settings_are_refused_with_the_difference(
    run: Path, capsys: pytest.CaptureFixture[str], change: str, said: str
) -> None:
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert main(["train", "--resume", str(run), change]) == 2
    error = capsys.readouterr().err
    assert said in error and "run.allow_changes=true" in error
    assert {path: path.read_bytes() for path in before} == before | {run / "run.lock": b""}


def test_the_same_command_with_a_change_is_refused_too(
    toy_folder: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*survival_command(toy_folder, run=run), "optimizer.lr=5e-4"]) == 2
    assert "optimizer.lr: was 0.001, is now 0.0005" in capsys.readouterr().err


def refused_parts(run: Path, capsys: pytest.CaptureFixture[str], *changes: str) -> list[str]:
    """The parts that are named when a run is refused; the configuration of the run stays what it was."""
    before = (run / "config.json").read_bytes()
    assert main(["train", "--resume", str(run), *changes]) == 2
    assert (run / "config.json").read_bytes() == before
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  - ")]
    return [line.removeprefix("  - ").partition(" (")[0] for line in lines]


def test_changed_data_is_refused(
    toy_folder: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.tsv"
    data.write_text((toy_folder / "data.tsv").read_text().replace("xxdog", "xxcat"))
    parts = refused_parts(run, capsys, f"data.train={data}")
    assert parts == ["test data", "tokens", "training data", "validation data"]


def test_the_same_data_elsewhere_is_not(toy_folder: Path, run: Path, tmp_path: Path) -> None:
    shutil.copy(toy_folder / "data.tsv", tmp_path / "copy.tsv")
    shutil.copytree(toy_folder / "teacher", tmp_path / "copy")
    changes = [f"data.train={tmp_path / 'copy.tsv'}", f"model.teacher.name={tmp_path / 'copy'}"]
    assert main(["train", "--resume", str(run), *changes]) == 0
    assert_same_run(run, reference(toy_folder))


def test_another_test_set_is_refused_and_measured_anew_when_allowed(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the report would set scores of two test sets side by side."""
    data = write_toy_data(tmp_path / "test.tsv", count=10, seed=7)
    before = json.loads((run / "report.json").read_text())["systems"]["before"]
    assert "test data" in refused_parts(run, capsys, f"data.test={data}")
    assert main(["train", "--resume", str(run), f"data.test={data}", ALLOW]) == 0
    systems = json.loads((run / "report.json").read_text())["systems"]
    assert systems["before"] != before
    counts = [systems[name]["languages"]["xx"]["retrieval"]["count"] for name in ("before", "after")]
    assert counts == [10, 10]


def test_a_changed_tokenizer_is_refused(
    toy_folder: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = Path(shutil.copytree(toy_folder / "teacher", tmp_path / "teacher"))
    tokenizer = json.loads((teacher / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words["dog"], words["cat"] = words["cat"], words["dog"]
    (teacher / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert refused_parts(run, capsys, f"model.teacher.name={teacher}") == ["teacher model", "tokens"]


def test_a_changed_student_is_refused(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    student, other = write_toy_model(tmp_path / "student", seed=1), write_toy_model(tmp_path / "other", seed=2)
    run = tmp_path / "run"
    more = ["model=pretrained", f"model.student.name={student}", "model.warm_start=none"]
    assert run_with_fault(monkeypatch, "step:3:SIGTERM", [*survival_command(toy_folder, run=run), *more]) == 143
    assert refused_parts(run, capsys, f"model.student.name={other}") == ["student model"]


def test_an_allowed_learning_rate_counts(toy_folder: Path, run: Path) -> None:
    assert main(["train", "--resume", str(run), "optimizer.lr=5e-4", ALLOW]) == 0
    rates = {record["step"]: record["lr"] for record in records(run) if "lr" in record}
    expected = {record["step"]: record["lr"] for record in records(reference(toy_folder)) if "lr" in record}
    assert rates == {step: rate if step <= 9 else rate / 2 for step, rate in expected.items()}
    assert losses(run)[16] != losses(reference(toy_folder))[16]
    assert "going on with a changed setting: optimizer.lr" in (run / "log.txt").read_text()
    assert json.loads((run / "config.json").read_text())["optimizer"]["lr"] == 5e-4


def test_a_permission_is_for_one_start(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(run), "optimizer.lr=5e-4", ALLOW]) == 0
    assert main(["train", "--resume", str(run), "optimizer.lr=2e-3"]) == 2
    assert "optimizer.lr: was 0.0005, is now 0.002" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "evaluated"),
    [
        # 8 batches an epoch become 3: one step of the second epoch is done, two are left.
        (["trainer.batch_tokens=1024"], [0, 8, 11]),
        # ... or 1, which is done: nothing is left, or the third epoch.
        (["trainer.batch_tokens=4096"], [0, 8, 9]),
        (["trainer.batch_tokens=4096", "trainer.epochs=3"], [0, 8, 9, 10]),
        (["trainer.accumulate=4"], [0, 8, 10]),
    ],
)
def test_an_allowed_size_of_the_batch_counts(run: Path, changes: list[str], evaluated: list[int]) -> None:
    assert main(["train", "--resume", str(run), *changes, ALLOW]) == 0
    texts = {record["step"]: record["texts"] for record in records(run) if "texts" in record}
    assert max(texts) == evaluated[-1]
    # Of the new batches one may be what is left of the others.
    assert max(texts) == 9 or max(count for step, count in texts.items() if step > 9) > 2 * texts[9]
    assert sorted(evaluations(run)) == evaluated


def test_allowed_data_and_seed_count(toy_folder: Path, run: Path, tmp_path: Path) -> None:
    data = write_toy_data(tmp_path / "more.tsv", count=240)
    assert main(["train", "--resume", str(run), f"data.train={data}", "seed=43", ALLOW]) == 0
    assert max(losses(run)) > STEPS
    assert losses(run)[10] != losses(reference(toy_folder))[10]
    log = (run / "log.txt").read_text()
    assert "training data" in log and "the best checkpoint so far does not count any more" in log
    assert json.loads((run / "report.json").read_text())["metadata"]["data"]["used"]["train"]["sources"] == 200


@pytest.mark.parametrize(
    "changes",
    [
        ["optimizer=sgd", "optimizer.lr=1.0"],
        ["model.student.freeze=[embeddings]"],
        ["trainer.precision=fp16"],
        ["data.languages=[xx]"],
    ],
)
def test_allowed_changes_of_what_the_optimizer_knows(run: Path, changes: list[str]) -> None:
    assert main(["train", "--resume", str(run), *changes, ALLOW]) == 0
    state = state_of(run / "checkpoints" / f"step-{max(losses(run))}")
    assert state["signature"] is not None and max(losses(run)) > 9
    # The checkpoint of the changed run can be gone on from in its turn.
    assert main(["train", "--resume", str(run), "trainer.epochs=3"]) == 0


def test_from_sgd_to_adamw_and_back(toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    sgd = ["optimizer=sgd", "optimizer.lr=1.0"]
    assert run_with_fault(monkeypatch, "step:3:SIGTERM", [*survival_command(toy_folder, run=run), *sgd]) == 143
    adamw = ["optimizer=adamw", "optimizer.lr=1e-3", ALLOW]
    assert run_with_fault(monkeypatch, "step:3:SIGTERM", ["train", "--resume", str(run), *adamw]) == 143
    assert main(["train", "--resume", str(run), *sgd, ALLOW]) == 0
    assert (run / "log.txt").read_text().count("the optimizer's averages start anew") == 2


def test_another_metric_chooses_anew(run: Path) -> None:
    assert state_of(run / "checkpoints" / "step-9")["metric"] == "retrieval"
    assert main(["train", "--resume", str(run), "trainer.metric=cosine", ALLOW]) == 0
    assert "it was chosen by retrieval" in (run / "log.txt").read_text()
    assert json.loads((run / "report.json").read_text())["metadata"]["best_step"] == 16


def test_a_damaged_best_checkpoint_does_not_become_the_student(toy_folder: Path, tmp_path: Path) -> None:
    """The newest is good, so the run goes on, or here ends, but with another best."""
    run = Path(shutil.copytree(reference(toy_folder), tmp_path / "run"))
    best = run / "checkpoints" / f"step-{json.loads((run / 'report.json').read_text())['metadata']['best_step']}"
    assert best.name == "step-8"
    with (best / "student" / "model.safetensors").open("r+b") as file:
        file.seek(5000)
        file.write(bytes(100))
    assert verify(best) is not None
    assert main(["train", "--resume", str(run)]) == 0
    assert f"{best} is damaged: student/model.safetensors" in (run / "log.txt").read_text()
    weights = [folder / "student" / "model.safetensors" for folder in (run, run / "checkpoints" / "step-16")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert json.loads((run / "report.json").read_text())["metadata"]["best_step"] == 16
    assert evaluations(run) == evaluations(reference(toy_folder))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["trainer"], None),
        (["trainer", "step"], "9"),
        (["trainer", "step"], True),
        (["trainer", "position"], -1),
        (["trainer", "best_step"], "8/../../../somewhere"),
        (["trainer", "extra"], 1),
        (["signature"], [1]),
    ],
)
def test_a_hostile_state_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], keys: list[str], value: object
) -> None:
    """It verifies: whoever wrote it wrote the manifest too."""
    checkpoint = run / "checkpoints" / "step-9"
    state = json.loads((checkpoint / "state.json").read_text())
    part = state
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    (checkpoint / "state.json").write_text(json.dumps(state))
    seal(checkpoint)
    assert main(["train", "--resume", str(run), "trainer.progress=lines"]) == 2
    assert "state" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("optimizer.safetensors", (1 << 62).to_bytes(8, "little") + b"{}"),
        ("student/model.safetensors", b"\x80\x04cposix\nsystem\n(S'true'\ntR."),
        ("random.json", b"[{}]"),
        ("random.json", b'[{"python": [3, [1], null]}]'),
        ("random.json", b"[" * 100_000),
    ],
)
def test_hostile_files_are_refused(run: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes) -> None:
    checkpoint = run / "checkpoints" / "step-9"
    (checkpoint / name).write_bytes(content)
    seal(checkpoint)
    assert main(["train", "--resume", str(run)]) == 2
    assert f"{checkpoint} does not fit this run" in capsys.readouterr().err
