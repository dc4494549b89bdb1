"""The command line as a new user meets it: mistakes, values in all shapes, help, files of one's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from mlembed.cli import HELP, VERBS, main
from mlembed.door.command_line import SWEEPING, shown_options

PROBLEM = "the configuration has a problem:\n  - "
NEITHER = "neither an option nor KEY=VALUE (without spaces around the =); see mlembed"
LOSSES = "there is no such choice; the choices are contrastive, cosine, joint, matryoshka, mse, relational, sum"
DATA = (
    "there is no such choice; the choices are demo, files, hub, intents; "
    "for your own files write data=files data.train=PATH, for a dataset data=hub data.name=NAME"
)


def config(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    """What `--cfg job` shows."""
    code = main([*words, "--cfg", "job"])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    content = yaml.safe_load(out)
    assert isinstance(content, dict)
    return content


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The message of a command that is refused with exit code 2, without the program's name."""
    code = main(words)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("mlembed: ") and "Traceback" not in err and "hydra.cc" not in err
    return err.removeprefix("mlembed: ").rstrip("\n")


def test_the_verbs_are_frozen_and_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert tuple(VERBS) == (
        "train",
        "check",
        "eval",
        "embed",
        "predict",
        "export",
        "push",
        "report",
        "runs",
        "cache",
        "bench",
        "tune",
    )
    assert all(f"\n  {verb} " in HELP for verb in VERBS)
    assert main(["--help"]) == main(["-h"]) == main(["help"]) == 0
    assert capsys.readouterr().out == 3 * HELP
    assert main([]) == 2
    assert capsys.readouterr().err == HELP
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("mlembed 0.")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "trian",
            "there is no verb 'trian'; the verbs are train, check, eval, embed, predict, export, push, report, runs, "
            "cache, bench, tune; did you mean train?",
        ),
        ("seed=3", "seed=3: the verb comes first: mlembed train seed=3"),
        ("train --foo", "there is no option --foo (mlembed train --help lists them); did you mean --info?"),
        ("train --cfg", "--cfg needs a value: --cfg job|hydra|all"),
        ("train --resume", "--resume needs a value: --resume RUN"),
        ("eval --resume x", "there is no option --resume (mlembed eval --help lists them)"),
        ("train foo", f"foo: {NEITHER} train --help"),
        ("train seed = 3", f"seed: {NEITHER} train --help"),
        ("train =3", "=3: there is no key before the =; write KEY=VALUE, without spaces around the ="),
        ("train los=mse", f"{PROBLEM}los: there is no such key; did you mean loss?"),
        ("train modle=copy", f"{PROBLEM}modle: there is no such key; did you mean model?"),
        ("train +los=mse", f"{PROBLEM}los: there is no such key; did you mean loss?"),
        ("train data.trian=x", f"{PROBLEM}data.trian: there is no such key; did you mean data.train?"),
        ("train +data.trian=x", f"{PROBLEM}data.trian: there is no such key; did you mean data.train?"),
        ("train ++data.trian=x", f"{PROBLEM}data.trian: there is no such key; did you mean data.train?"),
        ("train loss=mze", f"loss=mze: {LOSSES}; did you mean mse?"),
        ("train loss=null", f"loss=null: {LOSSES}"),
        ("train optimizer=3", "optimizer=3: there is no such choice; the choices are adamw, sgd"),
        ("train data=my.tsv", f"data=my.tsv: {DATA}"),
        ("train data=/a/b.tsv", f"data=a/b.tsv: {DATA}"),
        ("train ~data.foo", "data.foo: there is no such key"),
        ("train ~seed", f"{PROBLEM}seed: this key is missing; write seed=..."),
        (
            "train data.languages=de,fr",
            "data.languages=de,fr: a list is written [de,fr], a sweep over these values needs -m, one text quotes",
        ),
        ("train data=files", f"{PROBLEM}data.train: no training data is given; write data.train=PATH"),
        ("train seed=${foo}", "seed: Interpolation key 'foo' not found"),
        ("train run=3", f"{PROBLEM}run: must have keys of its own, not 3"),
        ("train --config-dir nope", "--config-dir nope: there is no such folder"),
        (
            "train --config-name nope",
            "--config-name nope: there is no such file; --config-dir FOLDER says where it lies",
        ),
        ("train --resume nope", "nope is not a run directory: there is no config.json in it"),
        (
            "train --resume x --config-name y",
            "--resume goes on with the run's own configuration: leave --config-name out",
        ),
        (
            "train -m loss=mse,cosine --cfg job",
            "--cfg shows one configuration: leave -m out, and give one value for each key",
        ),
        ("eval", f"{PROBLEM}target: no value is given; write mlembed eval RUN|CHECKPOINT|FOLDER"),
        ("eval a b", f"b: {NEITHER} eval --help"),
        ("eval x loss=mse", "loss: there is no such key"),
        ("bench -m seed=1,2", "-m is for training: two benchmarks at once would be in each other's way"),
        ("bench bench.round=2", f"{PROBLEM}bench.round: there is no such key; did you mean bench.rounds?"),
        (
            "bench debug=one_batch",
            f"{PROBLEM}trainer: with max_steps the sides would do different work; leave it out, and set bench.sources",
        ),
        ("-sc install=fish", 'completion is there for bash and zsh: eval "$(mlembed -sc install=bash)"'),
    ],
)
def test_a_mistake_has_its_message(capsys: pytest.CaptureFixture[str], words: str, message: str) -> None:
    assert refused(capsys, *words.split()) == message


def test_all_mistakes_come_together_also_those_in_keys(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "train", "optimizer.lr=-1", "los=mse", "+trainer.epohcs=2", "optimizer.momentum=0.9")
    assert message.splitlines() == [
        "the configuration has 4 problems:",
        "  - optimizer.lr: must be greater than 0.0, not -1",
        "  - optimizer.momentum: optimizer.kind=adamw has no such key; another choice of optimizer=... has",
        "  - trainer.epohcs: there is no such key; did you mean trainer.epochs?",
        "  - los: there is no such key; did you mean loss?",
    ]


def test_a_file_in_place_of_an_override_is_told_where_it_belongs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("my.tsv", "mine.yaml", "config.json"):
        (tmp_path / name).touch()
    assert refused(capsys, "train", f"{tmp_path}/my.tsv").endswith(f"write data=files data.train={tmp_path}/my.tsv")
    assert refused(capsys, "train", f"{tmp_path}/mine.yaml").endswith(f"--config-dir {tmp_path} --config-name mine")
    assert refused(capsys, "train", f"{tmp_path}").endswith(f"write mlembed train --resume {tmp_path}")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("run.name", "français", "français"),
        ("run.name", "2024", "2024"),
        ("run.name", "2024_01", "2024_01"),
        ("run.name", "1.10", "1.10"),
        ("run.name", "true", "true"),
        ("run.name", "a b  c", "a b  c"),
        ("run.name", "it's", "it's"),
        ("run.name", "'quoted, twice'", "quoted, twice"),
        ("run.name", '"a,b"', "a,b"),
        ("run.name", "'not closed", "'not closed"),
        ("run.dir", "C:\\runs\\x", "C:\\runs\\x"),
        ("run.dir", "a\\'b c\\", "a\\'b c\\"),
        ("run.dir", "ckpt=epoch=3.pt", "ckpt=epoch=3.pt"),
        ("run.dir", "", ""),
        ("run.dir", "null", None),
        ("data.train", "/a b/c=d.tsv", ["/a b/c=d.tsv"]),
        ("data.train", "~/naïve (1).tsv", ["~/naïve (1).tsv"]),
        ("data.train", "(1) x.tsv", ["(1) x.tsv"]),
        ("data.train", "[/a b/c=d.tsv,/é/f.tsv, g.tsv]", ["/a b/c=d.tsv", "/é/f.tsv", "g.tsv"]),
        ("data.train", "[2024_01,x y]", ["2024_01", "x y"]),
        ("data.train", "['a, b.tsv',c.tsv]", ["a, b.tsv", "c.tsv"]),
        ("data.train", "日本語.tsv", ["日本語.tsv"]),
        ("data.languages", "[de,no]", ["de", "no"]),
        ("data.languages", "[no]", ["no"]),
        ("data.languages", "sw", ["sw"]),
        ("data.where", "{domain:news}", {"domain": "news"}),
        ("data.where.domain", "news", {"domain": "news"}),
        ("trainer.epochs", "7", 7),
        ("optimizer.lr", "1e-4", 1e-4),
    ],
)
def test_values_mean_what_they_look_like(
    capsys: pytest.CaptureFixture[str], key: str, value: str, expected: object
) -> None:
    if expected == "":
        assert refused(capsys, "train", f"{key}={value}").endswith("- run.dir: must not be empty")
        return
    section, name = key.split(".")[:2]
    shown = config(capsys, "train", f"{key}={value}")[section]
    assert isinstance(shown, dict) and shown[name] == expected


def test_options_stand_anywhere_and_a_path_may_follow_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "seed=1", "--cfg", "job", "seed=2"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["seed"] == 2
    assert main(["eval", "--cfg=job", "my=folder"]) == 2, "a target with = must exist, else it is a key"
    capsys.readouterr()
    assert config(capsys, "eval", "a folder/x'y")["target"] == "a folder/x'y"


def test_cfg_job_shows_what_the_schema_makes_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    shown = config(capsys, "train", "loss=sum", "debug=cpu", "run.name=${task.kind}-${seed}", "data.train=x.tsv")
    assert shown["run"]["name"] == "embedding-42" and shown["data"]["train"] == ["x.tsv"]  # type: ignore[index]
    assert shown["loss"]["kind"] == "sum" and shown["trainer"]["device"] == "cpu"  # type: ignore[index]
    assert main(["train", "--cfg", "hydra"]) == 0
    assert "\n  job:\n    name: mlembed\n" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["train", "check", "eval", "bench", "tune"])
def test_help_lists_the_options_that_the_verb_takes(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert main([verb, "--help"]) == 0
    options = capsys.readouterr().out.partition("\noptions:\n")[2].partition("\n\n")[0]
    assert [option for option in shown_options(verb) if option not in options] == []
    assert ("--multirun" in options) == (verb in SWEEPING)


@pytest.mark.parametrize("verb", ["train", "eval", "bench", "tune"])
def test_help_explains_every_key_with_its_value(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    # The page fits itself to the terminal, and pytest's workers say that theirs is narrow.
    monkeypatch.setenv("COLUMNS", "130")
    assert main([verb, "--help"]) == 0
    page = capsys.readouterr().out
    assert page.startswith(f"usage: mlembed {verb} ")
    assert "hydra_app" not in page and "Powered by" not in page
    assert len(page.splitlines()) < 180 and max(map(len, page.splitlines())) <= 130
    from mlembed.config import GROUPS

    for group in GROUPS[verb]:
        assert f"\n{group}=" in page
    rows = [line for line in page.splitlines() if line.startswith("  ") and "=" in line.split(" ")[2]]
    assert len(rows) > 25
    assert "of the split" in next(row for row in rows if row.startswith("  seed=42"))


def test_help_is_of_the_choices_and_values_given(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "130")
    assert main(["train", "model=pretrained", "loss=contrastive", "loss.temperature=0.1", "-h"]) == 0
    page = capsys.readouterr().out
    assert "\n  model.student.name=???" in page
    assert "\n  loss.temperature=0.1 " in page and "divides the cosines" in page
    assert "[or cosine, joint, matryoshka, mse, relational, sum]" in page


def test_arguments_and_environment_are_put_back(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    arguments = list(sys.argv)
    main(["train", "--cfg", "job"])
    main(["train", "los=mse"])
    assert sys.argv == arguments
    assert os.environ["HYDRA_FULL_ERROR"] == "0" and "MLEMBED_STAMP" not in os.environ
