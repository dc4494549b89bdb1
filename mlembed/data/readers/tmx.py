"""Reads TMX (Translation Memory eXchange) as a stream, without trust in what the XML says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from mlembed.data.languages import WantedLanguages, canonical, primary_subtag
from mlembed.data.readers.lines import chunks
from mlembed.data.readers.options import ReadOptions
from mlembed.data.records import BadRecord, Record

MAX_UNIT_CHARS = 2**20
# What people write is far below these; a small compressed file may go far beyond them, and fill the memory.
MAX_UNIT_TEXTS, MAX_DEPTH, MAX_LANGUAGE_CHARS, MAX_TAG_BYTES = 4096, 64, 100, 2**22


def read_tmx(path: Path, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Read a TMX file (1.1 to 1.4b): each translation unit gives a row for each `tuv` that is not the source.

    Languages match exactly first, and else by primary subtag: "en-US" is the source where the source language is
    "en", and "de-AT" is read as "de" where `options.languages` holds "de". Text inside inline tags is kept.
    A file that declares entities is refused at that line, which ends the reading: they can expand without bounds, or
    read other files. So does malformed XML; the rows before it are kept.

    Args:
        path: `.tmx`, or `.tmx.gz`.
        options: `source_language` and `languages`; `on_skip` hears of units without source or without translation.

    Yields:
        Records with `source`, `target`, `lang`, with the line of their `tuv`; BadRecords.
    """
    units = _Units(path, options)
    for chunk in chunks(path):
        if isinstance(chunk, BadRecord):
            yield BadRecord(chunk.path, units.line, chunk.problem)
            return
        yield from units.feed(chunk)
        if units.refused:
            return
    yield from units.feed(b"", final=True)


class _Refused(Exception):
    """The rest of the file is not read, for the reason given."""


@dataclass(slots=True)
class _Variant:
    """One `tuv`: a text and its language code, as the file spells it."""

    language: str
    text: str
    line: int


class _Units:
    """Gathers translation units from the events of the XML parser.

    Args:
        path: the file, for messages.
        options: see `read_tmx`.
    """

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self.refused = False
        self._name = str(path)
        self._source_language = options.source_language
        self._wanted = WantedLanguages(options.languages)
        self._on_skip = options.on_skip
        self._ready: list[Record | BadRecord] = []
        self._variants: list[_Variant] = []
        self._language, self._variant_line = "", 1
        self._problem = ""
        self._text: list[str] | None = None
        self._chars = self._depth = self._fed = 0
        self._root_seen = False
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = self._refuse_entity
        self._parser.ExternalEntityRefHandler = self._refuse_external
        self._parser.SkippedEntityHandler = self._skipped_entity

    @property
    def line(self) -> int:
        """The line that the parser has reached, from 1."""
        return self._parser.CurrentLineNumber

    def feed(self, chunk: bytes, *, final: bool = False) -> Iterator[Record | BadRecord]:
        """Parse a chunk and yield what it completes; sets `refused` where the rest cannot be read."""
        try:
            self._parser.Parse(chunk, final)
            self._fed += len(chunk)
            if self._fed - self._parser.CurrentByteIndex > MAX_TAG_BYTES:
                raise _Refused(f"a tag or comment of more than {MAX_TAG_BYTES // 2**20} MiB; the rest is not read")
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            self._stop(error.lineno, f"malformed XML: {reason} (column {error.offset + 1}); the rest is not read")
        except _Refused as error:
            self._stop(self.line, str(error))
        except (LookupError, ValueError) as error:  # an encoding that Python does not know, or a multi-byte one
            self._stop(self.line, f"the encoding that the XML declares is not supported ({error}); convert it to UTF-8")
        yield from self._ready
        self._ready.clear()

    def _stop(self, line: int, problem: str) -> None:
        self.refused = True
        self._ready.append(BadRecord(self._name, line, problem))

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._root_seen:
            self._root_seen = True
            if tag != "tmx":
                raise _Refused(f"the root element is <{tag}>, not <tmx>; is this a TMX file?")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Refused(f"elements lie in one another more than {MAX_DEPTH} deep; the rest is not read")
        if tag == "tu":
            self._variants, self._problem, self._chars = [], "", 0
        elif tag == "tuv":
            self._language = attributes.get("xml:lang") or attributes.get("lang") or ""
            self._variant_line = self.line
            if not self._language:
                self._problem = "a <tuv> of this unit has no xml:lang"
            if len(self._language) > MAX_LANGUAGE_CHARS:
                self._language, self._problem = "", "the xml:lang of a <tuv> of this unit is no language code"
        elif tag == "seg":
            self._text = []

    def _characters(self, text: str) -> None:
        if self._text is None:
            return
        self._chars += len(text)
        if self._chars > MAX_UNIT_CHARS:
            raise _Refused(f"a translation unit of more than {MAX_UNIT_CHARS} characters; the rest is not read")
        self._text.append(text)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if tag == "seg" and self._text is not None:
            if len(self._variants) == MAX_UNIT_TEXTS:
                raise _Refused(f"a translation unit of more than {MAX_UNIT_TEXTS} texts; the rest is not read")
            text = " ".join("".join(self._text).split())
            self._variants.append(_Variant(self._language, text, self._variant_line))
            self._text = None
        elif tag == "tu":
            self._finish_unit()

    def _finish_unit(self) -> None:
        if self._problem:
            self._ready.append(BadRecord(self._name, self.line, self._problem))
            return
        source, others = _source_and_others(self._variants, self._source_language)
        if source is None or not others:
            self._on_skip("untranslated" if source else "no_source", 1)
            return
        exact = {self._wanted.exact(variant.language) for variant in others}
        for variant in others:
            language = self._wanted.exact(variant.language)
            if language is None:
                # A regional variant stands in for a wanted language where the unit has no exact match for that.
                nearest = self._wanted.nearest(variant.language)
                language = None if nearest in exact else nearest
            if language is None:
                self._on_skip("language", 1)
                continue
            values: dict[str, object] = {"source": source.text, "target": variant.text, "lang": language}
            self._ready.append(Record(values, self._name, variant.line))

    def _refuse_entity(self, name: str, *_: object) -> None:
        raise _Refused(f"the file declares the entity '{name}'; such files are refused: write the characters instead")

    def _refuse_external(self, *_: object) -> int:
        raise _Refused("the file refers to an external entity; such files are refused: write the characters instead")

    def _skipped_entity(self, name: str, is_parameter_entity: bool) -> None:
        if not is_parameter_entity:
            self._problem = f"the entity &{name}; is not defined in this file; write the character instead"


def _source_and_others(variants: list[_Variant], source_language: str) -> tuple[_Variant | None, list[_Variant]]:
    """Part the source from the translations; other variants of the source language are neither."""
    same = [variant for variant in variants if primary_subtag(variant.language) == primary_subtag(source_language)]
    exact = [variant for variant in same if canonical(variant.language) == canonical(source_language)]
    source = next(iter(exact or same), None)
    return source, [variant for variant in variants if variant not in same]
