"""The only door from text to configuration objects: it validates, and explains all problems in one message."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mlembed.errors import ConfigError
from mlembed.report.metrics import parse_metric

Config = TypeVar("Config", bound=BaseModel)
MISSING = "???"


def validate(plain: Mapping[str, Any], schema: type[Config]) -> Config:
    """Turn a plain dict into a configuration.

    Args:
        plain: nested dict of JSON values, without interpolations.
        schema: `TrainConfig` or `EvalConfig`.

    Raises:
        ConfigError: one message with every problem: the key, the value, what is expected, the nearest name.
    """
    problems = [f"{key}: no value is given; write {key}=..." for key in _missing(plain)]
    config = None
    try:
        config = schema.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        known = list(keys_of(schema))
        problems += [_explain(item, plain, known) for item in error.errors() if item.get("input") != MISSING]
    if config is not None:
        problems += _unknown_metric(plain)
    if problems or config is None:
        lines = "\n".join(f"  - {problem}" for problem in dict.fromkeys(problems))
        raise ConfigError(f"the configuration has {_count(problems)}:\n{lines}")
    return config


def keys_of(schema: Any, prefix: str = "") -> Iterator[str]:
    """Every dotted key that a schema knows, of all alternatives."""
    for model in _models_in(schema):
        for name, field in model.model_fields.items():
            key = f"{prefix}{name}"
            yield key
            yield from keys_of(field.annotation, f"{key}.")


# What the same thing is called elsewhere -> what it is called here.
ALIASES = {
    "learning_rate": "optimizer.lr",
    "batch_size": "trainer.batch_tokens",
    "gradient_accumulation_steps": "trainer.accumulate",
    "num_train_epochs": "trainer.epochs",
    "warmup_ratio": "optimizer.warmup",
    "warmup_steps": "optimizer.warmup",
    "mixed_precision": "trainer.precision",
    "output_dir": "run.dir",
}


def nearest(name: str, choices: typing.Iterable[str]) -> str:
    """`; did you mean x?` for the choice that is most like `name`, or an empty string.

    A key that was looked for in the wrong section (`trainer.lr`) or under the name that other tools give it
    (`batch_size`) is found by its last part.
    """
    choices = list(dict.fromkeys(choices))
    last = name.rpartition(".")[2]
    found = difflib.get_close_matches(name, choices, n=1, cutoff=0.85)
    found = found or [choice for choice in choices if choice.rpartition(".")[2] == last]
    found = found or [ALIASES[alias] for alias in difflib.get_close_matches(last, ALIASES, n=1, cutoff=0.8)]
    siblings = {choice.rpartition(".")[2]: choice for choice in choices}
    found = found or [siblings[one] for one in difflib.get_close_matches(last, siblings, n=1, cutoff=0.6)]
    return f"; did you mean {found[0]}?" if found else ""


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        for part in typing.get_args(annotation):
            yield from _models_in(part)


def _missing(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _missing(value, f"{prefix}.{key}" if prefix else str(key))
    elif node == MISSING:
        yield prefix


def _count(problems: list[str]) -> str:
    return "a problem" if len(problems) == 1 else f"{len(problems)} problems"


def _key(location: tuple[int | str, ...], plain: Mapping[str, Any]) -> str:
    """The dotted key of an error: pydantic puts the chosen alternative into the path, the user did not."""
    parts: list[str] = []
    node: Any = plain
    for part in location:
        if isinstance(node, Mapping) and part in node:
            node = node[part]
            parts.append(str(part))
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
            parts[-1] += f"[{part}]"
        elif part == location[-1] and isinstance(node, Mapping) and not _is_tag(part, node):
            parts.append(str(part))
    return ".".join(parts)


def _node(plain: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    node: Any = plain
    for part in key.split("."):
        node = node[part]
    return typing.cast(Mapping[str, Any], node)


def _is_tag(part: int | str, node: Mapping[str, Any]) -> bool:
    return node.get("kind") == part


def _explain(error: Any, plain: Mapping[str, Any], known: list[str]) -> str:
    key = _key(error["loc"], plain)
    value = error.get("input")
    shown = json.dumps(value, ensure_ascii=False)
    match error["type"]:
        case "extra_forbidden" if key in known:
            section = key.rpartition(".")[0]
            return f"{key}: {section}.kind={_node(plain, section).get('kind')} has no such key; another kind of {section} has"
        case "extra_forbidden":
            return f"{key}: there is no such key{nearest(key, (name for name in known if name != key))}"
        case "missing":
            return f"{key}: this key is missing"
        case "value_error":
            message = str(error["ctx"]["error"])
            return f"{key}: {message}" if key else message
        case "union_tag_invalid" | "union_tag_not_found":
            given = value.get("kind") if isinstance(value, Mapping) else value
            return f"{key}.kind: {given!r} is not one of {error['ctx'].get('expected_tags', 'the known kinds')}"
    if isinstance(value, bool) and ".languages[" in f".{key}":
        return f'{key}: YAML reads no, off, yes and on as true or false ({shown}); quote the language: "no"'
    if len(shown) > 80:
        shown = shown[:77] + "..."
    message = error["msg"][0].lower() + error["msg"][1:]
    hint = (
        nearest(value, error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", "))
        if (error["type"] == "literal_error" and isinstance(value, str))
        else ""
    )
    return f"{key}: {message}, not {shown}{hint}"


def _unknown_metric(plain: Mapping[str, Any]) -> list[str]:
    metric = plain.get("trainer", {}).get("metric")
    if metric is None:
        return []
    try:
        _, language = parse_metric(metric)
    except ConfigError as error:
        return [f"trainer.metric: {error}"]
    languages = plain["data"]["languages"]
    if language is not None and languages and language not in languages:
        return [f"trainer.metric: {language} is not one of data.languages {languages}"]
    return []
