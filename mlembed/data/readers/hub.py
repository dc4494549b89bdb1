"""Reads parallel and labelled data through `datasets`: the Hugging Face hub, its cache, a local folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mlembed.data.languages import WantedLanguages, canonical
from mlembed.data.readers.options import ReadOptions
from mlembed.data.records import BadRecord, Record
from mlembed.errors import ConfigError

HUB_PREFIX = "hub:"

_PAIR = re.compile(r"([a-z]{2,3}(?:_[A-Za-z]+)*)-([a-z]{2,3}(?:_[A-Za-z]+)*)")
# A language, not just any short name (qqp): two letters, or a region or script behind them.
_CODE = re.compile(r"[a-z]{2}|[a-z]{2,3}[_-][A-Z][A-Za-z]+")


def read_hub(
    name: str, options: ReadOptions, *, subset: str | None = None, split: str = "train", called: str | None = None
) -> Iterator[Record | BadRecord]:
    """Read one subset of a data set.

    Two layouts are understood: a `translation` column that holds a text by language code (`{"en": ..., "de": ...}`,
    or the lists `language` and `translation`), which becomes one record for each language beside the source; and
    columns, which come as they are. Where these hold no `lang`, a subset called `en-de` tells it.

    Args:
        name: a name on the hub, or a local folder of files; HF_HUB_OFFLINE and the cache are honored.
        options: `source_language` and `languages`; `on_skip` hears of entries without source or in other languages.
        subset: the configuration of the data set ("en-de"); None for its only one.
        split: "train", "validation", "test", or a slice such as "train[:1000]".
        called: how messages call it; None: by the keys of `data=hub`.

    Yields:
        Records; the path is `name/subset`, the line the number of the row, from 1.

    Raises:
        ConfigError: the data set, subset or split is not found, or the hub cannot be reached.
    """
    rows = _load(name, subset=subset, split=split, called=called)
    named = _class_names(rows.features)
    place = f"{name}/{subset}" if subset else name
    language = _language_of_subset(subset, options)
    wanted = WantedLanguages(options.languages)
    for line, values in enumerate(rows, 1):
        texts = values.get("translation")
        if isinstance(texts, dict):
            yield from _translations(texts, options=options, wanted=wanted, path=place, line=line)
            continue
        if language and "lang" not in values:
            values["lang"] = language
        for column, names in named.items():
            values[column] = _by_name(values[column], names)
        yield Record(values, place, line)


def is_hub_name(name: str) -> bool:
    """Say whether a name has the form `hub:NAME[:SUBSET[:SPLIT]]`."""
    return name.startswith(HUB_PREFIX)


def read_hub_name(name: str, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Read a data set that stands where a file could: `hub:NAME[:SUBSET[:SPLIT]]`.

    Without SUBSET it is the only one, without SPLIT it is `train`. Numbers of classes become their names where the data
    set knows them. Where no `lang` column tells the language, a subset that is called like one does ("de").

    Args:
        name: `hub:` and a name on the hub or a local folder, which may be followed by subset and split.
        options: see `read_hub`.

    Yields:
        Records, as in `read_hub`.

    Raises:
        ConfigError: see `read_hub`; or the name has too many parts.
    """
    parts = name.removeprefix(HUB_PREFIX).split(":", 2)
    parts += [""] * (3 - len(parts))
    if not parts[0]:
        raise ConfigError(f"{name}: not of the form hub:NAME[:SUBSET[:SPLIT]], for example hub:owner/name:de:test")
    yield from read_hub(parts[0], options, subset=parts[1] or None, split=parts[2] or "train", called=name)


def _load(name: str, *, subset: str | None, split: str, called: str | None) -> Any:
    import datasets

    called = called or f"data.name={name}" + (f" data.subsets=[{subset}]" if subset else "") + f" (split {split})"
    try:
        return datasets.load_dataset(name, subset, split=split, streaming=False)
    except (datasets.exceptions.DatasetNotFoundError, FileNotFoundError) as error:
        advice = "check the spelling; for a private one log in (hf auth login); without network name a local folder"
        raise ConfigError(f"{called}: no such data set, or the hub cannot be reached: {error}; {advice}") from error
    except (ConnectionError, datasets.exceptions.DatasetsError) as error:
        advice = "go online, fill the cache beforehand (hf download --repo-type dataset NAME), or name a local folder"
        raise ConfigError(f"{called}: the hub cannot be reached: {error}; {advice}") from error
    except (ValueError, RuntimeError) as error:  # an unknown subset or split; the message lists those that exist
        raise ConfigError(f"{called}: cannot be loaded: {error}") from error


def _class_names(features: Any) -> dict[str, list[str]]:
    """The names of the classes, by the columns that hold their numbers: a label, or a list of tags."""
    named = {}
    for column, feature in (features or {}).items():
        inner = getattr(feature, "feature", feature)
        if names := getattr(inner, "names", None):
            named[column] = list(names)
    return named


def _by_name(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_by_name(one, names) for one in value]
    # -1 is how data sets say that nobody has given a label.
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def _language_of_subset(subset: str | None, options: ReadOptions) -> str | None:
    """Return the language that a name tells: the one beside the source in `en-de` or `de-en`, or `de` itself."""
    if subset and (
        _CODE.fullmatch(subset) or WantedLanguages((*(options.languages or ()), options.source_language)).exact(subset)
    ):
        return subset
    match = _PAIR.fullmatch(subset or "")
    if not match:
        return None
    others = [code for code in match.groups() if canonical(code) != canonical(options.source_language)]
    return others[0] if len(others) == 1 else None


def _translations(
    texts: dict[str, Any], *, options: ReadOptions, wanted: WantedLanguages, path: str, line: int
) -> Iterator[Record | BadRecord]:
    if isinstance(texts.get("language"), list):  # TranslationVariableLanguages: several texts a language are possible
        pairs = list(zip(texts["language"], texts["translation"], strict=False))
    else:
        pairs = [(code, text) for code, text in texts.items() if text is not None]
    source_code = canonical(options.source_language)
    source = next((text for code, text in pairs if canonical(code) == source_code), None)
    if source is None:
        options.on_skip("no_source", 1)
        return
    for code, target in pairs:
        if canonical(code) == source_code:
            continue
        language = wanted.exact(code)
        if language is None:
            options.on_skip("language", 1)
        else:
            yield Record({"source": source, "target": target, "lang": language}, path, line)
