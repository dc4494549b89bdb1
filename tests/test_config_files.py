"""The YAML of conf/ and the schema: the same keys, each explained, each choice valid."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlembed.config import GROUPS, RECIPES, SCHEMAS, BenchConfig, EvalConfig, TrainConfig, TuneConfig
from mlembed.config_door import keys_of
from mlembed.config_trackers import NO_TRACKERS
from mlembed.door.command_line import config_of
from mlembed.door.help_page import comments_of
from mlembed.tune.settings import flattened

CONF = Path(__file__).parent.parent / "conf"
FILES = sorted(CONF.rglob("*.yaml"))
SECTIONS = [group for group in GROUPS["train"] if group not in RECIPES]
OPTIONS = [path for path in FILES if path.parent.name in SECTIONS]
SPACES = [path for path in FILES if path.parent.name == "space"]
RECIPE_FILES = [path for path in FILES if path.parent.name in RECIPES]


def name(path: Path) -> str:
    return path.relative_to(CONF).as_posix()


def keys_in(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from keys_in(value, f"{prefix}{key}.")


def all_keys_of_space(content: Mapping[str, Any]) -> list[str]:
    keys = flattened(content)
    return [*keys, *{key.rpartition(".")[0] for key in keys}]


def own_content(path: Path) -> Any:
    """A group's file without what it sets elsewhere: a task chooses data, loss and metric too."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content["task"] if path.parent.name == "task" and "task" in content else content


def section_of(path: Path) -> Any:
    """The schema's section for a group's file: of several alternatives the one with the file's kind."""
    annotation = TrainConfig.model_fields[path.parent.name].annotation
    kind = own_content(path).get("kind")
    alternatives = [*typing.get_args(annotation)] or [annotation]
    fitting = [
        one for one in alternatives if kind is None or kind in typing.get_args(one.model_fields["kind"].annotation)
    ]
    assert len(fitting) == 1, f"{name(path)}: kind {kind} is of {len(fitting)} sections"
    return fitting[0]


def test_every_file_is_counted() -> None:
    assert {name(path) for path in FILES if path.parent == CONF} == {
        "train.yaml",
        "eval.yaml",
        "bench.yaml",
        "tune.yaml",
    }
    assert {path.parent.name for path in FILES if path.parent != CONF} == set(GROUPS["tune"])
    assert len(OPTIONS) >= 15 and len(RECIPE_FILES) >= 4
    assert len(OPTIONS) + len(RECIPE_FILES) + len(SPACES) + 4 == len(FILES)


def test_every_kind_has_a_file() -> None:
    """An alternative of the schema without a file could not be chosen."""
    kinds = {
        (group, kind)
        for group in SECTIONS
        for one in typing.get_args(TrainConfig.model_fields[group].annotation)
        or [TrainConfig.model_fields[group].annotation]
        if "kind" in one.model_fields
        for kind in typing.get_args(one.model_fields["kind"].annotation)
    }
    files = {(path.parent.name, own_content(path).get("kind")) for path in OPTIONS}
    assert len(kinds) >= 12
    assert kinds == {(group, kind) for group, kind in files if kind is not None}


@pytest.mark.parametrize("path", OPTIONS, ids=name)
def test_an_option_has_exactly_the_keys_of_the_schema(path: Path) -> None:
    keys = list(keys_in(own_content(path)))
    assert sorted(keys) == sorted(keys_of(section_of(path)))


@pytest.mark.parametrize("verb", SCHEMAS)
def test_the_main_file_has_the_keys_that_no_group_has(verb: str) -> None:
    content = yaml.safe_load((CONF / f"{config_of(verb)}.yaml").read_text(encoding="utf-8"))
    defaults = [next(iter(entry)) for entry in content.pop("defaults") if entry != "_self_"]
    assert tuple(defaults) == GROUPS[verb]
    del content["hydra"]
    expected = {key for key in keys_of(SCHEMAS[verb]) if key.split(".")[0] not in GROUPS[verb]}
    assert set(keys_in(content)) == expected


@pytest.mark.parametrize("path", RECIPE_FILES, ids=name)
def test_a_recipe_sets_only_keys_that_there_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# @package _global_\n"), "else its keys would be set under its own name"
    content = yaml.safe_load(text)
    content.pop("defaults", None)
    keys = set(keys_in(content))
    assert keys and keys <= set(keys_of(TrainConfig))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_key_is_explained(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    first = text.splitlines()[0 if not text.startswith("# @package") else 1]
    assert first.startswith("# ") and len(first) > 15, "the file itself is explained at its head"
    content = yaml.safe_load(text)
    content.pop("defaults", None)
    # Of a space each key of the configuration, not the ends of its range.
    keys = list(keys_in(content) if path not in SPACES else all_keys_of_space(content))
    comments = dict(comments_of(text))
    assert set(keys) <= set(comments), "a key stands in a way that the help page cannot read"
    leaves = [key for key in keys if not any(other.startswith(f"{key}.") for other in keys)]
    # What a kind is, the head of its file says.
    assert [key for key in leaves if not comments[key] and key != "kind"] == []


def test_the_help_page_reads_comments_as_they_stand() -> None:
    text = "# head\na: 1   # one\nb:\n  c: 'x # y'  # two: 2\n  d: [1, 2]\ndefaults:\n  - loss: mse  # three\n"
    comments = {"a": "one", "b": "", "b.c": "two: 2", "b.d": "", "defaults": "", "loss": "three"}
    assert dict(comments_of(text)) == comments


def test_eval_has_no_key_that_training_has_too_with_another_meaning() -> None:
    """What both verbs have is of the same type, so that a run's value can be used in its evaluation."""
    shared = set(TrainConfig.model_fields) & set(EvalConfig.model_fields) - {"run"}
    assert shared == {"data", "seed"}
    for field in shared:
        assert TrainConfig.model_fields[field].annotation == EvalConfig.model_fields[field].annotation


def test_bench_trains_by_the_keys_of_training() -> None:
    assert set(BenchConfig.model_fields) - {"bench"} == set(TrainConfig.model_fields) - {"trackers"}
    assert set(TuneConfig.model_fields) - {"tune", "space"} == set(TrainConfig.model_fields)
    assert GROUPS["bench"] == GROUPS["train"] == tuple(group for group in GROUPS["tune"] if group != "space")
    files = {verb: (CONF / f"{config_of(verb)}.yaml").read_text(encoding="utf-8") for verb in SCHEMAS}
    hydra = {verb: yaml.safe_load(text)["hydra"] for verb, text in files.items()}
    assert hydra["bench"] == hydra["train"] == hydra["eval"] == hydra["tune"]
    trackers = [
        yaml.safe_load((CONF / f"{verb}.yaml").read_text(encoding="utf-8"))["trackers"] for verb in ("train", "tune")
    ]
    assert trackers[0] == trackers[1] == NO_TRACKERS.model_dump()
