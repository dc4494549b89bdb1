"""Reads parallel data through `datasets`: from the Hugging Face hub, its local cache, or a local folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mlembed.data.languages import WantedLanguages, canonical
from mlembed.data.readers.options import ReadOptions
from mlembed.data.records import BadRecord, Record
from mlembed.errors import ConfigError

_PAIR = re.compile(r"([a-z]{2,3}(?:_[A-Za-z]+)*)-([a-z]{2,3}(?:_[A-Za-z]+)*)")


def read_hub(
    name: str, options: ReadOptions, *, subset: str | None = None, split: str = "train"
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

    Yields:
        Records; the path is `name/subset`, the line the number of the row, from 1.

    Raises:
        ConfigError: the data set, subset or split is not found, or the hub cannot be reached.
    """
    rows = _load(name, subset=subset, split=split)
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
        yield Record(values, place, line)


def _load(name: str, *, subset: str | None, split: str) -> Any:
    import datasets

    called = f"data.name={name}" + (f" data.subsets=[{subset}]" if subset else "") + f" (split {split})"
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


def _language_of_subset(subset: str | None, options: ReadOptions) -> str | None:
    """Return the language beside the source in a name such as `en-de` or `de-en`."""
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
