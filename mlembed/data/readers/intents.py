"""Reads the sentence templates of Home Assistant (package home-assistant-intents): a text, its intent, a language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlembed.data.languages import WantedLanguages
from mlembed.data.readers.lines import open_binary
from mlembed.data.readers.options import ReadOptions
from mlembed.data.readers.templates import BadTemplate, Rules, chosen_sentences, parse_template
from mlembed.data.records import BadRecord, Record
from mlembed.errors import DataError
from mlembed.strict_json import parse

# Of a template such as `(turn|switch) on [all] [the] lights` that stands for more sentences, so many are drawn.
MOST_PER_TEMPLATE = 10
MAX_FILE_BYTES = 64 * 2**20

# The first bytes of such a file: by them it is told from any other JSON.
_BEGINNING = re.compile(rb'\s*\{\s*"language"\s*:')
_BEGINNING_BYTES = 256
_RULES = "expansion_rules"


def is_intents(path: Path) -> bool:
    """Whether a path is a file of intents, or a folder with one such file for each language."""
    if path.is_dir():
        return any(is_intents(file) for file in sorted(path.glob("*.json"))[:1])
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with open_binary(path) as file:
        return _BEGINNING.match(file.read(_BEGINNING_BYTES)) is not None


def read_intents(path: Path, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Read a file of intents, or all of a folder, in the order of their names.

    A template gives the sentences that it can be said as without a slot (a name, a number), at most
    `MOST_PER_TEMPLATE` of them, which are drawn by a hash of the template: the same at each reading. The language is
    the file's own; files in languages that are not wanted are not read.

    Args:
        path: `data/` of the package, or a file in it. A file is held in memory, one at a time.
        options: `languages`; `on_skip` hears of templates that cannot be said without a slot.

    Yields:
        Records with `text`, `label` (the intent) and `lang`; the line is the number of the template in its file. A
        BadRecord for a template that cannot be read.

    Raises:
        DataError: a file is not what its beginning promises, or none is in a wanted language.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    wanted = WantedLanguages(options.languages)
    any_read = False
    for file in files:
        # Each file of a folder is named like its language, so that the others need not be parsed.
        if path.is_dir() and wanted.exact(file.stem) is None:
            continue
        content = _content(file)
        language = wanted.exact(str(content["language"]))
        if language is not None:
            any_read = True
            yield from _rows(content, language=language, name=str(file), options=options)
    if not any_read:
        asked = ", ".join(options.languages or ["any"])
        found = ", ".join(file.stem for file in files)
        raise DataError(f"{path}: no file of intents in a wanted language; asked for: {asked}; found: {found}")


def _content(file: Path) -> Mapping[str, object]:
    with open_binary(file) as handle:
        raw = handle.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise DataError(f"{file}:1: a file of intents of more than {MAX_FILE_BYTES // 2**20} MiB is not read")
    try:
        content = parse(raw.decode())
    except ValueError as error:
        raise DataError(f"{file}:1: not JSON: {error}; install the package again") from error
    # Other versions of the package may lie otherwise on the disk.
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), kind) for key, kind in (("language", str), ("intents", dict), (_RULES, dict))
    ):
        raise DataError(
            f"{file}:1: not a file of intents as they are known here: an object with 'language', 'intents' and "
            "'expansion_rules' is expected; install the version of home-assistant-intents that constraints.txt names"
        )
    return content


def _rows(
    content: Mapping[str, object], *, language: str, name: str, options: ReadOptions
) -> Iterator[Record | BadRecord]:
    texts = content[_RULES]
    assert isinstance(texts, dict)
    rules = Rules({str(rule): str(text) for rule, text in texts.items()})
    for number, (intent, template) in enumerate(_templates(content), 1):
        try:
            parsed = parse_template(template, rules)
        except BadTemplate as error:
            yield BadRecord(name, number, f"the template {template!r} of {intent} cannot be read: {error}")
            continue
        if not parsed.count:
            options.on_skip("slots", 1)
        for sentence in chosen_sentences(parsed, most=MOST_PER_TEMPLATE, key=template):
            yield Record({"text": sentence, "label": intent, "lang": language}, name, number)


def _templates(content: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Intent and template, in the order of the file; what has another shape is not a template."""
    intents = content["intents"]
    assert isinstance(intents, dict)
    for intent, about in intents.items():
        for block in _list_in(about, "data"):
            for sentence in _list_in(block, "sentences"):
                if isinstance(sentence, str):
                    yield str(intent), sentence


def _list_in(node: object, key: str) -> list[object]:
    value = node.get(key) if isinstance(node, dict) else None
    return value if isinstance(value, list) else []
