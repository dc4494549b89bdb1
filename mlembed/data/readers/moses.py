"""Reads parallel text in Moses format: one file a language, aligned line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mlembed.data.languages import WantedLanguages, canonical
from mlembed.data.readers.lines import raw_lines, text_lines
from mlembed.data.readers.options import ReadOptions
from mlembed.data.records import BadRecord, Record
from mlembed.errors import DataError

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_@][A-Za-z0-9]{2,8})*")
# Endings of two or three letters that often lie beside Moses files and are no language.
_NO_LANGUAGES = frozenset(
    ["bak", "csv", "gz", "ids", "idx", "log", "md", "po", "pot", "py", "tmx", "tsv", "txt", "xml", "zip"]
)


def is_moses_stem(path: Path, *, source_language: str) -> bool:
    """Say whether PATH.<source_language> exists (`.gz` after it is allowed)."""
    return canonical(source_language) in _files_by_language(path)


def read_moses(path: Path, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Read PATH.<source language> with PATH.<language> for every other language, or for `options.languages`.

    Args:
        path: the stem: `corpus` for `corpus.en` and `corpus.de`, also as `corpus.en.gz`.
        options: `source_language` and `languages`.

    Yields:
        A Record a line and language with `source`, `target`, `lang`, one language after the other; path and line are
        those of the target file. A BadRecord for a line of bad UTF-8. Files of different length give one BadRecord
        and no rows: nobody knows where they went apart.

    Raises:
        DataError: there is no source file, or no file in a wanted language.
    """
    files = _files_by_language(path)
    source_file = files.pop(canonical(options.source_language), None)
    if source_file is None:
        raise DataError(f"{path}: no file {path.name}.{options.source_language} with the source lines")
    wanted = WantedLanguages(options.languages)
    targets = [(language, file) for code, file in files.items() if (language := wanted.exact(_spelled(file, code)))]
    if not targets:
        there = ", ".join(file.name for file in files.values()) or "none"
        asked = ", ".join(options.languages or ["any"])
        raise DataError(f"{source_file}: no file of translations beside it; asked for: {asked}; found: {there}")
    source_lines = _line_count(source_file)
    for language, file in targets:
        lines = _line_count(file)
        if isinstance(lines, BadRecord) or isinstance(source_lines, BadRecord):
            yield from (found for found in (source_lines, lines) if isinstance(found, BadRecord))
        elif lines == source_lines:
            yield from _pairs(source_file, file, language=language)
        else:
            problem = f"{lines} lines, but {source_file.name} has {source_lines}; line n must translate line n"
            yield BadRecord(str(file), min(lines, source_lines) + 1, problem)


def _line_count(file: Path) -> int | BadRecord:
    """Count the lines; a file that breaks off (damaged gzip data) gives the BadRecord at its end."""
    count = 0
    line: bytes | BadRecord = b""
    for line in raw_lines(file):  # noqa: B007 - the last one is looked at
        count += 1
    return line if isinstance(line, BadRecord) else count


def _pairs(source_file: Path, target_file: Path, *, language: str) -> Iterator[Record | BadRecord]:
    name = str(target_file)
    both = zip(text_lines(source_file), text_lines(target_file), strict=True)
    for line, (source, target) in enumerate(both, 1):
        if isinstance(source, BadRecord):
            yield source
        elif isinstance(target, BadRecord):
            yield target
        else:
            yield Record({"source": source, "target": target, "lang": language}, name, line)


def _files_by_language(stem: Path) -> dict[str, Path]:
    """Return the files STEM.<code> and STEM.<code>.gz by canonical code, in the order of their names."""
    files: dict[str, Path] = {}
    if not stem.name or not stem.parent.is_dir():
        return files
    for file in sorted(stem.parent.iterdir()):
        if file.name.startswith(f"{stem.name}.") and file.is_file():
            code = file.name.removeprefix(f"{stem.name}.").removesuffix(".gz")
            if _LANGUAGE.fullmatch(code) and code.lower() not in _NO_LANGUAGES:
                files.setdefault(canonical(code), file)
    return files


def _spelled(file: Path, code: str) -> str:
    """Return the language code as the file's name spells it."""
    return file.name.removesuffix(".gz")[-len(code) :]
