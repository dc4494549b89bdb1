"""`mlembed eval` on a run, a checkpoint and a folder; with their own data, given files, and scored pairs."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from toys import LANGUAGES, toy_command, toy_sentences, translate

from mlembed.cli import main

# What comes from parallel text; cosine and unexplained variance need a teacher.
ALONE = {"retrieval", "retrieval_to_source", "retrieval_from_source", "margin_error"}
WITH_TEACHER = ALONE | {"cosine", "unexplained_variance"}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher, data, and a finished run `run`."""
    folder = tmp_path_factory.mktemp("eval")
    assert main([*toy_command(folder), "model=copy", f"run.dir={folder / 'run'}", "trainer.progress=none"]) == 0
    return folder


def evaluate(workshop: Path, tmp_path: Path, target: str, *more: str) -> dict[str, Any]:
    words = ["eval", str(workshop / target), f"run.dir={tmp_path / 'eval'}", "device=cpu", *more]
    assert main(words) == 0
    assert (tmp_path / "eval" / "report.md").read_text(encoding="utf-8").startswith("#")
    report = json.loads((tmp_path / "eval" / "report.json").read_text(encoding="utf-8"))
    assert isinstance(report, dict)
    return report


def scores(report: dict[str, Any], system: str) -> dict[str, dict[str, Any]]:
    languages = report["systems"][system]["languages"]
    assert isinstance(languages, dict)
    return languages


def write_sts(path: Path, *languages: str) -> Path:
    sentences = toy_sentences(24, seed=9)
    lines = ["sentence1\tsentence2\tscore\tlang"]
    for language in languages:
        for at, (first, second) in enumerate(itertools.pairwise(sentences)):
            texts = [first, second] if language == "en" else [translate(text, language) for text in (first, second)]
            lines.append(f"{texts[0]}\t{texts[1]}\t{at % 5}\t{language}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_run_is_measured_on_its_own_test_set(workshop: Path, tmp_path: Path) -> None:
    report = evaluate(workshop, tmp_path, "run")
    own = json.loads((workshop / "run" / "report.json").read_text(encoding="utf-8"))
    assert report["test_set"] == own["test_set"] == "20 test sources split off"
    assert list(report["systems"]) == ["teacher", "student"]
    assert set(scores(report, "student")) == set(LANGUAGES)
    for language in LANGUAGES:
        assert set(scores(report, "student")[language]) == WITH_TEACHER
        for system, before in (("student", "after"), ("teacher", "teacher")):
            for metric, one in scores(report, system)[language].items():
                assert one == pytest.approx(scores(own, before)[language][metric], abs=1e-5)
    after = scores(report, "student")["xx"]["cosine"]
    assert after["count"] == 20 and after["low"] < after["value"] < after["high"]
    assert after["value"] > scores(report, "teacher")["xx"]["cosine"]["value"], "the run has learnt something"
    assert report["weakest"]["language"] in LANGUAGES
    assert report["metadata"]["target"] == str(workshop / "run" / "student")
    assert {path.name for path in (tmp_path / "eval").iterdir()} >= {"config.json", "log.txt", "environment.json"}


def test_a_checkpoint_knows_its_run(workshop: Path, tmp_path: Path) -> None:
    newest = max((workshop / "run" / "checkpoints").glob("step-*"), key=lambda path: int(path.name[5:]))
    report = evaluate(workshop, tmp_path, str(newest))
    assert report["metadata"]["target"] == str(newest / "student")
    assert report["test_set"] == "20 test sources split off" and set(scores(report, "student")) == set(LANGUAGES)


def test_a_folder_on_given_files(workshop: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tsv"
    sentences = toy_sentences(15, seed=7)
    rows = [f"{sentence}\t{translate(sentence, 'xx')}\txx" for sentence in sentences]
    other.write_text("\n".join(["source\ttarget\tlang", *rows]) + "\n", encoding="utf-8")
    report = evaluate(workshop, tmp_path, "run/student", f"data.test={other}")
    assert report["test_set"] == str(other) and list(report["systems"]) == ["student"]
    assert set(scores(report, "student")) == {"xx"} and set(scores(report, "student")["xx"]) == ALONE
    assert scores(report, "student")["xx"]["retrieval"]["count"] == 15
    assert report["metadata"]["data"]["test"]["kept"] == 15
    shutil.rmtree(tmp_path / "eval")
    beside = evaluate(workshop, tmp_path, "run/student", f"data.test={other}", f"teacher.name={workshop / 'teacher'}")
    assert set(scores(beside, "student")["xx"]) == WITH_TEACHER


def test_given_files_in_the_place_of_a_run_s_own(workshop: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tsv"
    other.write_text("source\ttarget\tlang\n" + "".join(f"s{at}\tt{at}\tyy\n" for at in range(5)))
    report = evaluate(workshop, tmp_path, "run", f"data.test={other}")
    assert report["test_set"] == str(other)
    assert set(scores(report, "student")) == {"yy"}
    assert set(scores(report, "student")["yy"]) == WITH_TEACHER, "the teacher is the run's"


def test_scored_pairs_alone(workshop: Path, tmp_path: Path) -> None:
    sts = write_sts(tmp_path / "sts.tsv", "en", "xx", "yy")
    report = evaluate(workshop, tmp_path, "run/student", f"data.test={sts}", "data.languages=[xx]")
    found = scores(report, "student")
    assert {language: set(found[language]) for language in found} == {"en": {"sts"}, "xx": {"sts", "sts_cross"}}
    assert report["rows"] == {"en": {"sts": 23}, "xx": {"sts": 23, "sts_cross": 23}}
    assert report["weakest"]["metric"] == "sts"
    assert report["metadata"]["data"]["test_scored"]["filtered"] == {"language": 23}


def test_what_cannot_be_measured(workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(workshop / "run", tmp_path / "unfinished")
    shutil.rmtree(tmp_path / "unfinished" / "student")
    (checkpoint, *_) = (tmp_path / "unfinished" / "checkpoints").glob("step-*")
    with (checkpoint / "student" / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    data = f"data.test={workshop / 'data.tsv'}"
    cases = [
        ([str(tmp_path / "unfinished")], 2, "has no finished student; give one of its checkpoints, or resume it"),
        ([str(checkpoint)], 2, "is damaged: student/model.safetensors has other contents"),
        ([str(tmp_path / "nowhere"), data], 2, "target: there is no folder"),
        ([str(workshop), data], 2, "is not a model folder"),
        ([str(workshop / "teacher")], 2, "data.test: no test data is given"),
        ([str(workshop / "teacher"), f"data.test={tmp_path / 'nothing.tsv'}"], 3, "nothing.tsv: no such file"),
        ([str(workshop / "teacher"), data, "teacher.name=./nowhere"], 2, "teacher.name: there is no folder ./nowhere"),
    ]
    for number, (words, code, message) in enumerate(cases):
        assert main(["eval", *words, f"run.dir={tmp_path / str(number)}", "device=cpu"]) == code, words
        assert message in capsys.readouterr().err


def test_embed_takes_runs_and_checkpoints(workshop: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("the red dog\n")
    (checkpoint, *_) = (workshop / "run" / "checkpoints").glob("step-*")
    for target in (workshop / "run", checkpoint, workshop / "run" / "student"):
        output = tmp_path / f"{target.name}.npy"
        assert main(["embed", str(target), "--input", str(tmp_path / "in.txt"), "--output", str(output)]) == 0
    assert (tmp_path / "run.npy").read_bytes() == (tmp_path / "student.npy").read_bytes()


def test_a_run_is_not_written_over(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (workshop / "run" / "config.json").read_bytes()
    assert main(["eval", str(workshop / "run"), f"run.dir={workshop / 'run'}"]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert (workshop / "run" / "config.json").read_bytes() == before
