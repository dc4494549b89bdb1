"""The only door from text to configuration objects: it validates, and explains all problems in one message."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mlembed.config import RECIPES, Training
from mlembed.errors import ConfigError
from mlembed.report.metrics import METRICS, parse_metric

Config = TypeVar("Config", bound=BaseModel)
MISSING = "???"
# Task -> the chapters of the report that it has.
MEASURED = {
    "embedding": ("Retrieval", "Agreement with the teacher", "Semantic similarity"),
    "classification": ("Classification",),
    "token_classification": ("Tagging",),
    "pair": ("Classification", "Similarity regression"),
}
HOW_TO_GIVE = {"target": "mlembed eval RUN|CHECKPOINT|FOLDER"}


def validate(plain: Mapping[str, Any], schema: type[Config]) -> Config:
    """Turn a plain dict into a configuration.

    Args:
        plain: nested dict of JSON values, without interpolations.
        schema: `TrainConfig`, `EvalConfig` or `BenchConfig`.

    Raises:
        ConfigError: one message with every problem: the key, the value, what is expected, the nearest name.
    """
    problems = [f"{key}: no value is given; write {HOW_TO_GIVE.get(key, f'{key}=...')}" for key in _missing(plain)]
    if broken := list(_broken_texts(plain)):
        raise ConfigError("\n".join(f"{key}: {text[:80]!r} is not valid Unicode text" for key, text in broken))
    config = None
    try:
        config = schema.model_validate_json(json.dumps(plain, default=str))
    except ValidationError as error:
        known = names_of(schema)
        wrong = [item for item in error.errors() if item.get("input") != MISSING]
        # The first error of a key is enough: of a union each alternative has one.
        first = {_key(item["loc"], plain): item for item in reversed(wrong)}
        problems += [_explain(item, plain, known) for item in reversed(first.values())]
    if issubclass(schema, Training):
        problems += _no_training_data(plain) + _unknown_metric(plain)
    if problems or config is None:
        lines = "\n".join(f"  - {problem}" for problem in dict.fromkeys(problems))
        raise ConfigError(f"the configuration has {_count(problems)}:\n{lines}")
    return config


def keys_of(schema: Any, prefix: str = "") -> Iterator[str]:
    """Every dotted key that a schema knows, of all alternatives."""
    for key, _ in fields_of(schema, prefix):
        yield key


def fields_of(schema: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key that a schema knows, with the type of its values."""
    for model in _models_in(schema):
        for name, field in model.model_fields.items():
            yield f"{prefix}{name}", field.annotation
            yield from fields_of(field.annotation, f"{prefix}{name}.")


def names_of(schema: Any) -> list[str]:
    """What can stand before the = on a command line: keys, and groups that set keys of others."""
    return [*dict.fromkeys(keys_of(schema)), *(RECIPES if issubclass(schema, Training) else ())]


def is_text(annotation: Any) -> bool:
    """Whether values of a type are texts, or lists of texts."""
    return annotation is str or (
        typing.get_origin(annotation) is not dict and any(is_text(part) for part in typing.get_args(annotation))
    )


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


def nearest(name: str, choices: Iterable[str]) -> str:
    """`; did you mean x?` for the choice that is most like `name`, or an empty string: the end of a message.

    A key that was looked for in the wrong section (`trainer.lr`) or under the name that other tools give it
    (`batch_size`) is found by its last part.
    """
    choices = list(dict.fromkeys(choices))
    last = name.rpartition(".")[2]
    found = difflib.get_close_matches(name, choices, n=1, cutoff=0.85)
    if not found and "." not in name:
        # A section comes before the keys within sections: `modle` is model, not trackers.wandb.mode.
        found = difflib.get_close_matches(name, [one for one in choices if "." not in one], n=1, cutoff=0.75)
    # The one that is least deep: optimizer.lr, not task.fine_tuning.lr.
    same = sorted((choice for choice in choices if choice.rpartition(".")[2] == last), key=lambda one: one.count("."))
    found = found or same
    found = found or [ALIASES[alias] for alias in difflib.get_close_matches(last, ALIASES, n=1, cutoff=0.8)]
    siblings = {choice.rpartition(".")[2]: choice for choice in choices}
    found = [one for one in found if one in choices] or [
        siblings[one] for one in difflib.get_close_matches(last, siblings, n=1, cutoff=0.6)
    ]
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


def _broken_texts(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Texts with bytes of the command line that are no UTF-8: they can be neither shown nor written down."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _broken_texts(name, f"{key or 'a key'}")
            yield from _broken_texts(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for item in node:
            yield from _broken_texts(item, key)
    elif isinstance(node, str):
        try:
            node.encode()
        except UnicodeEncodeError:
            yield ascii(key).strip("'"), node


def _count(problems: list[str]) -> str:
    return "a problem" if len(set(problems)) == 1 else f"{len(set(problems))} problems"


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
        elif part == location[-1] and isinstance(node, Mapping) and node.get("kind") != part:
            parts.append(str(part))
    return ".".join(parts)


def _explain(error: Any, plain: Mapping[str, Any], known: list[str]) -> str:
    key = _key(error["loc"], plain)
    value = error.get("input")
    match error["type"]:
        case "extra_forbidden":
            return f"{key}: {_why_unknown(key, plain, known)}"
        case "missing":
            return f"{key}: this key is missing; write {key}=..."
        case "value_error":
            return f"{key}: {error['ctx']['error']}" if key else str(error["ctx"]["error"])
        case "union_tag_invalid" | "union_tag_not_found":
            choices = error["ctx"].get("expected_tags", "the known kinds")
            given = value.get("kind") if isinstance(value, Mapping) else value
            return f"{key}.kind: must be one of {choices}, not {_shown(given)}"
    if isinstance(value, bool) and "language" in key:
        return f'{key}: YAML reads no, off, yes and on as true or false ({_shown(value)}); quote the language: "no"'
    instead = "" if value in ("", [], {}) else f", not {_shown(value)}"
    return f"{key}: {_expected(error)}{instead}{_near_literal(error)}"


def _why_unknown(key: str, plain: Mapping[str, Any], known: list[str]) -> str:
    section, _, name = key.rpartition(".")
    if name == "_target_":
        return "nothing is imported because a configuration names it; choose among the options of a group"
    if key in RECIPES and key in known:
        first_line = "# @package _global_"
        return f"choose a file with {key}=NAME; the first line of such a file is {first_line!r}"
    if key in known:
        kind = plain[section].get("kind") if section in plain else None
        return f"{section}.kind={kind} has no such key; another choice of {section}=... has"
    return f"there is no such key{nearest(key, (name for name in known if name != key))}"


# pydantic's type of error -> what is expected; pydantic's own words speak of JSON and of Python.
EXPECTED = {
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_type": "must be a text",
    "list_type": "must be a list such as [a,b]",
    "too_short": "must have {min_length} or more in it",
    "too_long": "must have {max_length} or fewer in it",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be {expected}",
    "model_type": "must have keys of its own",
    "model_attributes_type": "must have keys of its own",
    "dict_type": "must be keys with values, such as {{domain: news}}",
}


def _expected(error: Any) -> str:
    if error["input"] in ("", [], {}):
        return "must not be empty"
    words = EXPECTED.get(error["type"])
    return words.format(**error.get("ctx", {})) if words else str(error["msg"]).lower()


def _near_literal(error: Any) -> str:
    if error["type"] != "literal_error" or not isinstance(error["input"], str):
        return ""
    return nearest(error["input"], error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", "))


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _section(plain: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = plain.get(name)
    return section if isinstance(section, Mapping) else {}


def _no_training_data(plain: Mapping[str, Any]) -> list[str]:
    data = _section(plain, "data")
    needed = data.get("kind") == "files" and "train" in data and not data["train"]
    return ["data.train: no training data is given; write data.train=PATH"] if needed else []


def _unknown_metric(plain: Mapping[str, Any]) -> list[str]:
    metric, data = _section(plain, "trainer").get("metric"), _section(plain, "data")
    languages = data.get("languages")
    languages = [languages] if isinstance(languages, str) else languages if isinstance(languages, list) else None
    if not isinstance(metric, str) or metric == MISSING:
        return []
    source = data.get("source_language") if _section(plain, "task").get("kind") != "embedding" else None
    known = [str(one) for one in [*languages, *([source] if source else [])]] if languages else None
    try:
        name, _ = parse_metric(metric, languages=known)
    except ConfigError as error:
        return [f"trainer.metric: {error}"]
    task = _section(plain, "task").get("kind")
    fitting = [one for one, about in METRICS.items() if about.group in MEASURED.get(str(task), ())]
    if fitting and name not in fitting:
        return [f"trainer.metric: task={task} does not measure {name}; choose from: {', '.join(fitting)}"]
    return []
