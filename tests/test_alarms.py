"""Alarms: figures by hand, thresholds from both sides, what is told and when, and runs that are spoiled on purpose."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from crashes import assert_same_run, records, reference, student_hash, survival_command
from hydra import compose, initialize_config_module
from label_toys import LABELS, label_command, label_folder, trained, write_table
from loops import make_trainer

from mlembed.alarms.alarm import KINDS
from mlembed.alarms.answers import answer_alarms, knows_answers, measure_classes, measure_scores
from mlembed.alarms.causes import Circumstances, likely_causes
from mlembed.alarms.clipping import clipping_alarm
from mlembed.alarms.loss import loss_alarm
from mlembed.alarms.metric import metric_alarms
from mlembed.alarms.vectors import measure_vectors, vector_alarms, vector_signs
from mlembed.alarms.watch import Watch
from mlembed.cli import main
from mlembed.config import TrainConfig
from mlembed.config_door import validate
from mlembed.door.composed import to_plain
from mlembed.errors import ConfigError, TrainingFailed


def test_figures_of_vectors_by_hand() -> None:
    """Four orthogonal vectors: the spread is 1 - |mean|^2 under the root, the three directions around it are equal."""
    found = measure_vectors(np.eye(4, 8) * 7)
    assert found["spread"] == pytest.approx(math.sqrt(1 - 4 / 16))
    assert found["effective_rank"] == pytest.approx(3)
    assert found["mean_cosine"] == pytest.approx(0)
    assert found["dead_dimensions"] == 0.5
    # Two directions, three to one: p = 3/4 and 1/4.
    line = np.array([[3.0, 0, 0], [-3, 0, 0], [0, 1, 0], [0, -1, 0]])
    unit = measure_vectors(line)
    assert unit["effective_rank"] == pytest.approx(2), "lengths are taken out"
    same = measure_vectors(np.ones((5, 3)))
    assert (same["spread"], same["effective_rank"]) == pytest.approx((0, 1))
    assert same["mean_cosine"] == pytest.approx(1)
    assert measure_vectors(np.zeros((5, 3)))["spread"] == 0
    assert measure_vectors(np.random.default_rng(0).standard_normal((3000, 16)))["spread"] > 0.99


def cloud(*, spread: float, rank: int = 32, seed: int = 0) -> np.ndarray:
    """40 vectors around one direction."""
    around_ND = np.random.default_rng(seed).standard_normal((40, 32))
    around_ND[:, rank:] = 0
    centre_D = np.zeros(32)
    centre_D[-1] = 1.0
    return spread * around_ND / np.linalg.norm(around_ND, axis=1, keepdims=True) + (1 - spread) * centre_D


def kinds(student: np.ndarray, *, before: np.ndarray, teacher: np.ndarray, progress: float) -> dict[str, bool]:
    """Kind -> whether the run should end."""
    signs = vector_signs({"xx": student}, {"xx": teacher})
    past = vector_signs({"xx": before}, {"xx": teacher})
    return {alarm.kind: alarm.ends for alarm in vector_alarms(signs, past, progress=progress)}


def test_vectors_that_lie_together_are_told_from_those_that_began_so() -> None:
    good, close = cloud(spread=0.9), cloud(spread=0.2)
    assert kinds(good, before=good, teacher=good, progress=0.9) == {}
    assert kinds(close, before=good, teacher=good, progress=0.1) == {"collapse": True}
    assert kinds(close, before=close, teacher=good, progress=0.1) == {}, "a bad start has time"
    assert kinds(close, before=close, teacher=good, progress=0.6) == {"collapse": True}
    assert kinds(cloud(spread=0.3), before=close, teacher=good, progress=0.9) == {}, "it is on its way"
    assert kinds(close, before=good, teacher=good, progress=0) == {}, "nothing has been learnt yet"
    flat = cloud(spread=0.02)
    assert kinds(flat, before=flat, teacher=flat, progress=0) == {"teacher": True}
    few = cloud(spread=0.9, rank=3)
    assert kinds(few, before=good, teacher=good, progress=0.1) == {"rank": True, "dead_dimensions": False}


def test_one_language_of_several_does_not_end_a_run() -> None:
    good, close = cloud(spread=0.9), cloud(spread=0.2)
    teacher = {"xx": good, "yy": good}
    signs, before = vector_signs({"xx": good, "yy": close}, teacher), vector_signs(teacher, teacher)
    (alarm,) = vector_alarms(signs, before, progress=0.5)
    assert (alarm.kind, alarm.ends) == ("collapse", False) and " in yy " in alarm.seen
    assert vector_signs({"xx": good[:5]}, {"xx": good[:5]}) == {}, "too few to say anything"


def classes(chosen: list[int], gold: list[int]) -> dict[str, float]:
    return measure_classes(np.array(gold), np.eye(3)[chosen] * 0.8 + 0.2 / 3)


def answered(*languages: dict[str, float]) -> dict[str, bool]:
    together = languages[0] if len(languages) == 1 else classes([0, 1, 2] * 60, [0, 1, 2] * 60)
    signs = {"all": together, "languages": {f"x{at}": one for at, one in enumerate(languages)}}
    assert list(answer_alarms(signs, progress=0.4)) == [], "a new head has time"
    return {alarm.kind: alarm.ends for alarm in answer_alarms(signs, progress=0.5)}


def test_answers_that_are_one_or_chance() -> None:
    gold = [0, 1, 2] * 20
    right, one, turned = classes(gold, gold), classes([1] * 60, gold), classes([1, 2, 0] * 20, gold)
    assert right["entropy"] < 0.7 and one["accuracy"] == pytest.approx(1 / 3)
    assert answered(right) == {}
    assert answered(one) == {"one_answer": True, "chance": True}
    assert answered(turned) == {"chance": True}
    assert answered(right, turned) == {"chance": False}, "a single language"
    # Outside of names is what most words are: to find a few is no collapse, to find none is one.
    words = [0] * 180 + [1] * 20
    assert answered(classes([0] * 185 + [1] * 15, words)) == {}
    assert answered(classes([0] * 200, words)) == {"one_answer": True, "chance": True}
    assert answered(classes([0] * 10, [0] * 9 + [1])) == {}, "too few to say anything"


def test_scores_and_several_labels() -> None:
    gold_N = np.linspace(0, 1, 50)
    assert answered(measure_scores(gold_N, gold_N * 0.1 + 0.5)) == {}
    assert answered(measure_scores(gold_N, np.full(50, 0.5))) == {"one_answer": True, "chance": True}
    several = np.random.default_rng(0).integers(0, 2, (60, 4))
    assert measure_classes(several, several * 0.9 + 0.05)["accuracy"] == 1
    assert answered(measure_classes(several, several * 0.9 + 0.05)) == {}
    assert "one_answer" in answered(measure_classes(several, np.full((60, 4), 0.1)))


def test_a_loss_that_jumps_and_stays() -> None:
    noise = np.random.default_rng(0).normal(1, 0.2, 64).tolist()
    assert loss_alarm([*noise, 9, 9, 1, 1, 1]) is None, "two bad batches"
    assert loss_alarm([*noise, 1.8, 1.8, 1.9, 1.8, 1.9]) is None, "less than twice as much"
    assert loss_alarm([9.0] * 20) is None, "too early"
    alarm = loss_alarm([*noise, 3, 3, 3, 3, 3])
    assert alarm is not None and alarm.severity == pytest.approx(1.5, rel=0.1)
    assert loss_alarm([0.0] * 60) is None


def test_gradients_far_above_the_limit() -> None:
    assert clipping_alarm([10.0] * 64, limit=1.0) is None
    assert clipping_alarm([60.0] * 64, limit=None) is None
    assert clipping_alarm([60.0] * 63, limit=1.0) is None
    assert clipping_alarm([60.0] * 64, limit=1.0) is not None


@pytest.mark.parametrize(
    ("values", "first", "metric", "progress", "expected"),
    [
        ([0.5], 0.9, "retrieval", 0.5, ["worse"]),
        ([0.5], 0.9, "retrieval", 0.1, []),
        ([0.85], 0.9, "retrieval", 0.5, []),
        ([0.02], 0.04, "macro_f1", 0.9, []),
        ([-0.2], -0.1, "spearman", 0.9, ["worse"]),
        ([1.5], 0.9, "unexplained_variance", 0.5, ["worse"]),
        ([0.5], 0.9, "unexplained_variance", 0.5, []),
        ([0.9, 0.85, 0.8, 0.75], 0.7, "retrieval/de", 0.5, ["falling"]),
        ([0.9, 0.85, 0.86, 0.75], 0.7, "retrieval", 0.5, []),
        ([0.9, 0.899, 0.898, 0.897], 0.7, "retrieval", 0.5, []),
        ([], 0.7, "retrieval", 0.5, []),
    ],
)
def test_the_metric(values: list[float], first: float, metric: str, progress: float, expected: list[str]) -> None:
    assert [one.kind for one in metric_alarms(values, first=first, metric=metric, progress=progress)] == expected


def test_an_alarm_is_told_once_and_again_when_it_is_worse(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="mlembed")
    watch = Watch(metric="retrieval", causes=lambda kind: ["the moon"])
    watch.evaluation(0, progress=0, value=0.9, signs={})
    for step, value in ((10, 0.7), (20, 0.69), (30, 0.3), (40, 0.89), (50, 0.6)):
        watch.evaluation(step, progress=0.5, value=value, signs={})
    told = [record.message for record in caplog.records if "ALARM" in record.message]
    assert len(told) == 2
    assert "ALARM at step 10: the student is worse than before training: retrieval is 0.7000" in told[0]
    assert "Likely causes, the likeliest first (more in docs/alarms.md):\n  - the moon" in told[0]
    assert "ALARM at step 30, since step 10" in told[1]
    assert "alarm over: the student is worse than before training (steps 10 to 30)" in caplog.text
    kept = json.loads(json.dumps(watch.state_dict()))
    other = Watch(metric="retrieval", stops=True)
    other.load_state_dict(kept)
    assert other.state_dict() == watch.state_dict()
    with pytest.raises(TrainingFailed, match=r"on_collapse=stop: the student is worse .*checkpoints/step-20/student"):
        other.check(best_step=20)
    watch.check(best_step=20)
    with pytest.raises(ConfigError, match="alarms cannot be read"):
        other.load_state_dict({**kept, "losses": ["x"]})
    with pytest.raises(ConfigError, match="alarms cannot be read"):
        other.load_state_dict({**kept, "raised": {"worse": {"since": "x"}}})


def test_a_new_head_is_nothing_to_be_worse_than() -> None:
    gold = [0, 1, 2] * 20
    for before, raised in ((gold, {"worse"}), ([1, 2, 0] * 20, set())):
        watch = Watch(metric="accuracy")
        watch.evaluation(0, progress=0, value=0.5, signs={"answers": {"all": classes(before, gold), "languages": {}}})
        watch.evaluation(10, progress=0.4, value=0.3, signs={})
        assert watch.raised.keys() == raised
    assert knows_answers({"all": measure_scores(np.arange(9), np.arange(9))})
    assert not knows_answers({"all": measure_scores(np.arange(9), np.arange(9)[::-1])})


def config(*given: str) -> TrainConfig:
    with initialize_config_module("mlembed.conf", version_base=None):
        composed = compose("train", overrides=list(given))
    return validate(to_plain(composed), TrainConfig)


def test_a_training_that_loses_what_it_knew(tmp_path: Path) -> None:
    """`stop` ends it between two steps, with a checkpoint; without it the run goes on."""
    values = [0.9, 0.8, 0.1, 0.1]
    settings = {"batch_tokens": 100, "evaluate_every": 1, "max_steps": 4, "metric": "cosine"}
    trainer = make_trainer(tmp_path / "warn", values=[*values, 0.1], **settings)
    trainer.run()
    assert trainer.state.step == 4
    assert trainer.watch.summary()["alarms"]["worse"]["since"] == 2
    trainer = make_trainer(tmp_path / "stop", values=values, stops=True, **settings)
    with pytest.raises(TrainingFailed, match="checkpoints/step-1/student"):
        trainer.run()
    assert trainer.state.step == 2
    assert sorted(path.name for path in (tmp_path / "stop" / "checkpoints").iterdir()) == ["step-1", "step-2"]


def test_a_healthy_run_has_figures_and_no_alarm(toy_folder: Path) -> None:
    run = reference(toy_folder)
    watched = json.loads((run / "report.json").read_text())["metadata"]["watch"]
    assert watched["alarms"] == {}
    assert 0 < watched["vectors"]["spread"] < 1 and set(watched["vectors"]["languages"]["student"]) == {"xx", "yy"}
    looks = [record["vectors"] for record in records(run) if "evaluation" in record]
    assert looks[-1] == watched["vectors"] and looks[0]["teacher"] == looks[-1]["teacher"]
    assert "ALARM" not in (run / "log.txt").read_text()


def test_a_run_that_is_spoiled_by_its_learning_rate(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with exit code 1; it goes on with `warn`, to the same bits as a run that was never stopped."""
    warned, stopped = tmp_path / "warned", tmp_path / "stopped"
    bad = ["optimizer.lr=1.0", "trainer.evaluate_every=4"]
    assert main([*survival_command(toy_folder, run=warned), *bad]) == 0
    said = (warned / "log.txt").read_text()
    assert "ALARM at step 4: the student's vectors lie close together: spread 0.0" in said and said.count("ALARM") == 1
    assert "\n  - optimizer.lr=1 is too high: try 0.1" in said
    arguments = [*survival_command(toy_folder, run=stopped), *bad]
    assert main([*arguments, "trainer.on_collapse=stop"]) == 1
    assert "trainer.on_collapse=stop: the student" in capsys.readouterr().err
    assert not (stopped / "student").exists() and list(stopped.glob("checkpoints/step-*"))
    assert main([*arguments, "trainer.on_collapse=stop"]) == 1, "it is as it was"
    assert main(arguments) == 0
    assert_same_run(stopped, warned)
    assert student_hash(stopped) == student_hash(warned)
    alarms = [json.loads((run / "report.json").read_text())["metadata"]["watch"] for run in (stopped, warned)]
    assert alarms[0] == alarms[1] and alarms[0]["alarms"]["collapse"]["since"] == 4
    assert "## Alarms" in (warned / "report.md").read_text()


def test_a_classifier_whose_labels_are_wrong(tmp_path: Path) -> None:
    """Each label of the training rows stands for another one; in the same run with the right ones nothing is said."""
    folder = label_folder(tmp_path / "toys")
    header, *lines = (folder / "train.tsv").read_text().splitlines()
    turned = {label: LABELS[at - 1] for at, label in enumerate(LABELS)}
    rows = [line.split("\t") for line in lines]
    write_table(folder / "wrong.tsv", header.split("\t"), [[row[0], turned[row[1]], *row[2:]] for row in rows])
    raised = []
    for name in ("train", "wrong"):
        report = trained(label_command(folder, run=tmp_path / name, train=f"{name}.tsv"))
        raised.append(report["metadata"]["watch"]["alarms"])
    assert raised[0] == {}
    assert "chance" in raised[1]
    said = (tmp_path / "wrong" / "log.txt").read_text()
    assert "ALARM at step 36: the student's answers are no better than chance" in said
    assert "Likely causes, the likeliest first (more in docs/alarms.md):\n  - task.fine_tuning.lr=0.005" in said


@pytest.mark.parametrize("kind", KINDS)
def test_causes_are_in_the_words_of_the_configuration(kind: str) -> None:
    now = Circumstances(config("model=pretrained", "model.student.name=x"), "optimizer.lr", 2e-4)
    high = Circumstances(now.config, "optimizer.lr", 0.1)
    causes = likely_causes(kind, now)
    assert 2 <= len(causes) <= 6
    if kind not in ("teacher", "clipped"):
        assert causes[-1] == "optimizer.lr=0.0002 is too high: try 2e-05"
        assert likely_causes(kind, high)[0] == "optimizer.lr=0.1 is too high: try 0.01"
