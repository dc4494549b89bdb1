"""What the schema refuses, and the words in which it says so."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hydra import compose, initialize_config_module

from mlembed.config import EvalConfig, TrainConfig
from mlembed.config_door import keys_of, names_of, nearest, validate
from mlembed.errors import USAGE, ConfigError


@pytest.fixture(scope="module")
def defaults() -> dict[str, Any]:
    from omegaconf import OmegaConf

    with initialize_config_module("mlembed.conf", version_base="1.3"):
        plain = OmegaConf.to_container(compose("train"), resolve=True)
    assert isinstance(plain, dict)
    return plain


def changed(plain: dict[str, Any], **values: Any) -> dict[str, Any]:
    """A copy in which `section__key` has another value."""
    plain = copy.deepcopy(plain)
    for path, value in values.items():
        *parents, last = path.split("__")
        node = plain
        for parent in parents:
            node = node[parent]
        node[last] = value
    return plain


def problems(plain: dict[str, Any], schema: Any = TrainConfig) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(plain, schema)
    assert caught.value.exit_code == USAGE
    head, *lines = str(caught.value).splitlines()
    count = "a problem" if len(lines) == 1 else f"{len(lines)} problems"
    assert head == f"the configuration has {count}:"
    return [line.removeprefix("  - ") for line in lines]


def test_the_defaults_are_valid_and_cannot_be_changed_later(defaults: dict[str, Any]) -> None:
    config = validate(defaults, TrainConfig)
    assert config.model_dump(mode="json")["seed"] == defaults["seed"]
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1  # type: ignore[misc]


def test_all_problems_come_in_one_message(defaults: dict[str, Any]) -> None:
    wrong = changed(
        defaults,
        seed="x",
        sede=1,
        optimizer__lr=0,
        trainer__epochs=1.5,
        trainer__metric="retreival",
        data__train=None,
        model__teacher__name="???",
        run__name="a/b",
    )
    found = problems(wrong)
    keys = {line.split(":")[0] for line in found}
    assert len(found) == len(keys) == 8
    assert {"seed", "sede", "optimizer.lr", "trainer.epochs", "trainer.metric", "data.train"} <= keys
    assert {"model.teacher.name", "run.name"} <= keys


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimizer__lr": "abc"}, 'optimizer.lr: must be a number, not "abc"'),
        ({"optimizer__lr": -1}, "optimizer.lr: must be greater than 0.0, not -1"),
        ({"optimizer__lr": float("nan")}, "optimizer.lr: must be a finite number, not NaN"),
        ({"optimizer__warmup": 1.5}, "optimizer.warmup: must be 1.0 or less, not 1.5"),
        ({"optimizer__betas": [0.9]}, "optimizer.betas: must have 2 or more in it, not [0.9]"),
        ({"trainer__epochs": 0}, "trainer.epochs: must be 1 or more, not 0"),
        ({"trainer__epochs": True}, "trainer.epochs: must be a whole number, not true"),
        ({"data__drop_leaks": "maybe"}, 'data.drop_leaks: must be true or false, not "maybe"'),
        ({"data__languages": []}, "data.languages: must not be empty"),
        ({"data__languages": ["d"]}, "data.languages[0]: 'd' is not a language code such as de or pt_BR"),
        ({"data__columns": "foo"}, 'data.columns: must have keys of its own, not "foo"'),
        ({"data__where": {"x": 1.5}}, "data.where.x: must be a text, not 1.5"),
        ({"run__name": ""}, "run.name: must not be empty"),
        (
            {"loss": {"kind": "mze"}},
            "loss.kind: must be one of 'mse', 'cosine', 'relational', 'contrastive', 'matryoshka', 'sum', 'joint', not",
        ),
        ({"seed": "???"}, "seed: no value is given; write seed=..."),
        ({"trainer__metric": "retrieval/xx"}, "trainer.metric: There is no language 'xx' for 'retrieval/xx'."),
        (
            {"trainer__precision": "bf61"},
            "trainer.precision: must be 'auto', 'fp32', 'bf16' or 'fp16', not \"bf61\"; did you mean bf16?",
        ),
    ],
)
def test_a_problem_says_key_value_and_what_is_expected(
    defaults: dict[str, Any], values: dict[str, Any], message: str
) -> None:
    assert [line[: len(message)] for line in problems(changed(defaults, **values))] == [message]


@pytest.mark.parametrize("languages", [5, 0.5, {"de": 1}])
def test_languages_that_are_no_list(defaults: dict[str, Any], languages: object) -> None:
    assert any(one.startswith("data.languages") for one in problems(changed(defaults, data__languages=languages)))


def test_bytes_that_are_no_text_are_told_with_their_key(defaults: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"run\.name: .* is not valid Unicode text"):
        validate(changed(defaults, run__name="a\udcff"), TrainConfig)


@pytest.mark.parametrize("word", [False, True])
def test_a_language_that_yaml_took_for_a_boolean_is_explained(defaults: dict[str, Any], word: bool) -> None:
    (message,) = problems(changed(defaults, data__languages=["de", word]))
    assert message.startswith("data.languages[1]: YAML reads no, off, yes and on as true or false")
    assert message.endswith('quote the language: "no"')


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"optimizer__learnin_rate": 1}, "did you mean optimizer.lr?"),
        ({"trainer__lr": 1}, "did you mean optimizer.lr?"),
        ({"trainer__batch_size": 8}, "did you mean trainer.batch_tokens?"),
        ({"data__trian": "x"}, "did you mean data.train?"),
        ({"experimnt": "x"}, "did you mean experiment?"),
        ({"optimizer__momentum": 0.9}, "optimizer.kind=adamw has no such key; another choice of optimizer=... has"),
        ({"experiment": {"seed": 1}}, "the first line of such a file is '# @package _global_'"),
        ({"data___target_": "os.system"}, "nothing is imported because a configuration names it"),
        ({"qqqq": 1}, "there is no such key"),
    ],
)
def test_an_unknown_key_is_refused_with_a_way_out(defaults: dict[str, Any], values: dict[str, Any], hint: str) -> None:
    (message,) = problems(changed(defaults, **values))
    assert hint in message


def test_one_text_is_a_list_of_one_and_a_number_is_a_name(defaults: dict[str, Any]) -> None:
    config = validate(
        changed(
            defaults, data__train="a.tsv", data__languages="de", model__student__freeze="embeddings", run__name=2024
        ),
        TrainConfig,
    )
    assert (config.data.train, config.data.languages) == (["a.tsv"], ["de"])  # type: ignore[union-attr]
    assert (config.model.student.freeze, config.run.name) == (["embeddings"], "2024")


def test_evaluation_needs_a_target_and_no_training_data() -> None:
    from omegaconf import OmegaConf

    with initialize_config_module("mlembed.conf", version_base="1.3"):
        plain: Any = OmegaConf.to_container(compose("eval"), resolve=True)
    assert problems(plain, EvalConfig) == ["target: no value is given; write mlembed eval RUN|CHECKPOINT|FOLDER"]
    assert validate(plain | {"target": "runs/x"}, EvalConfig).data.train is None  # type: ignore[union-attr]


def test_names_are_those_of_the_schema_and_the_recipes() -> None:
    assert set(names_of(TrainConfig)) == {*keys_of(TrainConfig), "experiment", "debug"}
    assert set(names_of(EvalConfig)) == set(keys_of(EvalConfig))
    assert nearest("learning_rate", names_of(EvalConfig)) == "", "evaluation has no such key to propose"
