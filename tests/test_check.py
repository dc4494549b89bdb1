"""`mlembed check`: each kind of fault in data that were spoilt with known counts, and the same steps as training."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from label_toys import (
    label_command,
    label_folder,
    with_parallel,
    with_unlabelled,
    write_pairs,
    write_table,
    write_tags,
)
from toys import LANGUAGES, toy_command, toy_sentences, translate

from mlembed.cli import main

PARALLEL = ("source", "target", "lang")
Pair = tuple[str, str, str]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return label_folder(tmp_path_factory.mktemp("labels"))


def pairs_of(sentences: Sequence[str]) -> list[Pair]:
    return [(one, translate(one, language), language) for one in sentences for language in LANGUAGES]


def check(capsys: pytest.CaptureFixture[str], folder: Path, *words: str, teacher: Path) -> tuple[int, dict[str, Any]]:
    """The exit code, and what `--json` wrote."""
    code = main(["check", *toy_words(folder, teacher), *words, "--json", str(folder / "found.json")])
    capsys.readouterr()
    return code, json.loads((folder / "found.json").read_text(encoding="utf-8"))


def toy_words(folder: Path, teacher: Path) -> list[str]:
    """What `toy_command` gives after the verb, with the data of a folder."""
    (folder / "teacher").symlink_to(teacher) if not (folder / "teacher").exists() else None
    return toy_command(folder)[1:]


def counts_of(document: dict[str, Any]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for finding in document["findings"]:
        counts[finding["kind"]] += finding["count"]
    return dict(counts)


def finding(document: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = (one for one in document["findings"] if one["kind"] == kind)
    assert isinstance(found, dict)
    return found


def test_a_spoilt_corpus_is_seen_through_in_one_run(
    tmp_path: Path, toy_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentences = toy_sentences(100, seed=3)
    held_out, good = pairs_of(sentences[:10]), pairs_of(sentences[10:])
    upper = [(source.upper() + " !", f"{target}.", language) for source, target, language in held_out[4:7]]
    twice_in_other_spelling = [(source.title(), f"{target} …", language) for source, target, language in good[:2]]
    of_another = [("tree tree tree house", held_out[0][1], "xx")]
    long = [("a dog", "xxdog " * 60, "xx")]
    spoilt = [*good, *good[:3], *twice_in_other_spelling, *held_out[:2], *upper, *of_another, *long]
    write_table(tmp_path / "data.tsv", PARALLEL, spoilt)
    write_table(tmp_path / "test.tsv", PARALLEL, held_out)
    broken = tmp_path / "broken.tsv"
    broken.write_bytes(b"source\ttarget\tlang\nonly one\na\tb\txx\tmore\n\xff\tb\txx\nfinds\txxfinds\txx\n")
    data = f"data.train=[{tmp_path / 'data.tsv'},{tmp_path / 'no.tsv'},{broken}]"
    code, found = check(capsys, tmp_path, data, f"data.test={tmp_path / 'test.tsv'}", teacher=toy_folder / "teacher")
    assert code == found["exit_code"] == 3
    assert counts_of(found) == {
        "unreadable": 1,
        "bad_row": 3,
        "duplicate": 3,
        "duplicate_normalised": 2,
        "leak": 2,
        "leak_normalised": 3,
        "leak_target": 1,
        "length": 1,
        "truncated": 1,
    }
    assert [row["line"] for row in finding(found, "bad_row")["rows"]] == [2, 3, 4]
    assert "no.tsv: no such file" in finding(found, "unreadable")["messages"][0]
    line = len(good) + 2
    assert [row["line"] for row in finding(found, "duplicate")["rows"]] == [line, line + 1, line + 2]
    assert finding(found, "duplicate")["rows"][0]["why"] == f"as {tmp_path / 'data.tsv'}:2"
    severities = {one["kind"]: one["severity"] for one in found["findings"]}
    assert severities["bad_row"] == severities["unreadable"] == "stops"
    assert severities["duplicate"] == severities["leak"] == "left out"
    assert severities["leak_target"] == severities["length"] == "warns"
    # What can be read was looked at to the end, and nothing was left behind.
    assert found["cost"]["total"] > 0 and len(found["sees"]) == 3
    assert not (tmp_path / "runs").exists()


def test_its_steps_are_those_of_the_training_and_clean_data_pass(
    tmp_path: Path, toy_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "data.tsv", PARALLEL, pairs_of(toy_sentences(90, seed=4)))
    code, found = check(capsys, tmp_path, teacher=toy_folder / "teacher")
    assert (code, found["findings"]) == (0, [])
    assert {part: found["used"][part]["sources"] for part in ("train", "validation", "test")} == {
        "train": 50,
        "validation": 20,
        "test": 20,
    }
    run = tmp_path / "run"
    assert main(["train", *toy_words(tmp_path, toy_folder / "teacher"), f"run.dir={run}"]) == 0
    assert found["cost"]["total"] == steps_of(run)
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    before = {name: report["systems"][name] for name in ("teacher", "before")}
    assert found["baseline"]["whole"] and found["baseline"]["report"]["systems"] == before
    written = sum(file.stat().st_size for file in (run / "checkpoints").rglob("*.safetensors"))
    saved = len(list((run / "checkpoints").iterdir()))
    assert found["cost"]["disk_bytes"]["checkpoint"] == pytest.approx(written / saved, rel=0.1)


def test_clean_rows_are_written_for_training(
    tmp_path: Path, toy_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = pairs_of(toy_sentences(90, seed=5))
    write_table(tmp_path / "data.tsv", PARALLEL, [*good, *good[:5], ("a", "xxa " * 100, "xx"), ("too", "few")])
    teacher, clean = toy_folder / "teacher", tmp_path / "clean.jsonl.gz"
    code, found = check(capsys, tmp_path, "--write-clean", str(clean), teacher=teacher)
    assert code == 3 and found["clean"] == {"file": str(clean), "rows": len(good), "of": len(good) + 6}
    code, again = check(capsys, tmp_path, f"data.train={clean}", teacher=teacher)
    assert code == 0 and again["findings"] == [] and again["read"]["train"]["kept"] == len(good)


def test_what_it_is_told_is_looked_over_first(
    tmp_path: Path, toy_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check", *toy_words(tmp_path, toy_folder / "teacher")]
    write_table(tmp_path / "data.tsv", PARALLEL, pairs_of(toy_sentences(5)))
    before = (tmp_path / "data.tsv").read_bytes()
    for given, said in (
        (["--write-clean", str(tmp_path / "data.tsv")], "this is data.train; give the name of another file"),
        (["--json", str(tmp_path / "data.tsv")], "this is data.train; give the name of another file"),
        (["--write-clean", "clean.csv"], "the ending says the format"),
        (["--sample", "many"], "give a number of rows from 1"),
        (["--json", str(tmp_path / "no" / "a.json")], "there is no folder"),
        (["-m", "seed=1,2"], "check one combination at a time"),
        (["--resume", "x"], "there is no option --resume"),
    ):
        assert main([*words, *given]) == 2
        assert said in capsys.readouterr().err
    assert (tmp_path / "data.tsv").read_bytes() == before


def test_what_training_would_end_with_is_its_exit_code(
    tmp_path: Path, toy_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "data.tsv", PARALLEL, pairs_of(toy_sentences(90, seed=6)))
    code, found = check(capsys, tmp_path, "model.teacher.name=nowhere", teacher=toy_folder / "teacher")
    assert code == 2 and finding(found, "failed")["messages"][0].startswith("models: model.teacher.name")
    code, found = check(capsys, tmp_path, "data.test_size=1000", teacher=toy_folder / "teacher")
    assert code == 2 and "cannot hold out" in finding(found, "failed")["messages"][0]


def test_labelled_rows(tmp_path: Path, labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = ("text", "label", "lang")
    rows = [line.split("\t")[:3] for line in (labels / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    test = [line.split("\t")[:3] for line in (labels / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    rows = [list(row) for row in dict.fromkeys(map(tuple, rows))]
    contradiction = [rows[0][0].title(), "pet" if rows[0][1] != "pet" else "place", "en"]
    spoilt = [*rows, rows[0], rows[1], contradiction, test[0], [test[2][0].upper(), *test[2][1:]], ["alone"]]
    write_table(tmp_path / "train.tsv", header, spoilt)
    write_table(tmp_path / "test.tsv", header, [*test, ["a dog", "unheard", "en"]])
    words = [f"data.train={tmp_path / 'train.tsv'}", f"data.test={tmp_path / 'test.tsv'}"]
    words += [f"data.validation={labels / 'valid.tsv'}", f"data.parallel={labels / 'parallel.tsv'}"]
    words += ["task=classification", "data=files", "model=copy", f"model.teacher.name={labels / 'teacher'}"]
    words += [
        "trainer.batch_tokens=256",
        "trainer.precision=fp32",
        "trainer.device=cpu",
        f"run.root={tmp_path / 'runs'}",
    ]
    out, clean = tmp_path / "found.json", tmp_path / "clean.tsv"
    assert main(["check", *words, "--json", str(out), "--write-clean", str(clean)]) == 3
    assert "before that, models learn the labels" in capsys.readouterr().out
    found = json.loads(out.read_text(encoding="utf-8"))
    own = [one for one in found["findings"] if "in data.parallel" not in one["messages"]]
    leaks = {"leak": 1, "leak_normalised": 1}
    seen = counts_of({"findings": own})
    assert {kind: seen[kind] for kind in leaks} == leaks
    assert (seen["bad_row"], seen["duplicate"], seen["contradiction"], seen["unseen_label"]) == (1, 2, 1, 1)
    assert found["cost"]["total"] > 0 and found["stages"][0].startswith("teacher: ")
    assert found["clean"]["rows"] == len(clean.read_text(encoding="utf-8").splitlines()) - 1
    assert not (tmp_path / "runs").exists()


def steps_of(run: Path) -> int:
    """Steps that a training logged."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return max(int(json.loads(line)["step"]) for line in lines)


@pytest.mark.parametrize(
    "task",
    [
        pytest.param("classification", marks=pytest.mark.slow),
        "token_classification",
        pytest.param("pair", marks=pytest.mark.slow),
    ],
)
def test_tasks_with_labels_take_as_many_steps_as_it_says(tmp_path: Path, task: str) -> None:
    folder = label_folder(tmp_path)
    more = [with_unlabelled(folder)]
    if task == "token_classification":
        write_tags(folder)
    elif task == "pair":
        write_pairs(folder, scores=True, matching=True)
        more = [with_parallel(folder), "task.answer=score", "task.architecture=bi_encoder"]
    command = [*label_command(folder, run=tmp_path / "run", task=task), *more]
    command += ["task.fine_tuning.epochs=1", "trainer.epochs=2"]
    out = tmp_path / "found.json"
    assert main(["check", *command[1:], "--json", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert len(found["sees"]) >= 3 and not (tmp_path / "run").exists()
    assert main(command) == 0
    assert found["cost"]["total"] == steps_of(tmp_path / "run")
    stages = [f"{stage.parent.name}: " for stage in (tmp_path / "run").glob("*/stage.json")]
    assert [said[: said.index(": ") + 2] for said in found["stages"]] == stages
