"""Reads gettext catalogues (.po, .mo) and folders of them."""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.data.languages import WantedLanguages, canonical, primary_subtag
from mlembed.data.readers.lines import open_binary
from mlembed.data.readers.options import ReadOptions
from mlembed.data.records import BadRecord, Record
from mlembed.errors import DataError

if TYPE_CHECKING:
    import polib

# Three letters alone may as well be the name of a program: such a language must be asked for by name.
_CODE = re.compile(r"[a-z]{2}([-_@.][A-Za-z0-9]+)*|[a-z]{3}([-_@.][A-Za-z0-9]+)+")
# In a .po the header's line breaks are the two characters \n; in a .mo they are real, and NUL ends the header.
_HEADER_LANGUAGE = re.compile(
    rb'(?:^|\0)"?Language:[ \t]*([A-Za-z]{2,3}(?:[-_@][A-Za-z0-9]+)*)[ \t]*(?:\\n|\0|$)', re.MULTILINE
)
# With a bound: that of polib takes minutes for a line that says "Content-Type:" again and again.
_HEADER_CHARSET = re.compile(rb"Content-Type:[^\n]{1,100}?charset=([\w.:-]+)")
_HEADER_BYTES = 2**16
MAX_CATALOGUE_BYTES = 32 * 2**20
# A text of more lines or bytes than this is none that people read; polib takes time by the square of both.
MAX_TEXT_LINES, MAX_TEXT_BYTES = 10_000, 2**20
MAX_COMMENT = 2**16
_MO_HEADER = struct.Struct("<7I")
_MO_MAGIC = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}
# Plone and Zope name messages by ids, and note the English text as an extracted comment: Default: "text", where the
# text may go on in further quoted strings.
_DEFAULT = re.compile(r'Default:\s*((?:"(?:[^"\\]|\\.)*"\s*)+)', re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_IDENTIFIER = re.compile(r"[\w.:-]*[A-Za-z0-9]_[A-Za-z0-9][\w.:-]*")
_TIGHT_COMMENT = re.compile(r"^(#[.:,])(?=\S)", re.MULTILINE)
_SYNTAX_ERROR = re.compile(r"\(line (\d+)\)(?:: (.*))?")


def read_gettext(path: Path, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Read a catalogue, or all catalogues below a folder (a .mo only where no .po lies beside it), sorted by path.

    The language is that of the folder above LC_MESSAGES, or else that of the header, of the file's name (`de.po`) or
    of the folder. It is known before a catalogue is parsed: catalogues in other languages than `options.languages` or
    in the source language itself are left alone. The source is the message id, or the comment `Default: "..."`
    (Plone, Zope) where there is one. A plural entry gives two pairs: the id with the first form, the plural id with
    the last. White space is collapsed, as line breaks follow the layout of a form.

    Args:
        path: `.po`, `.mo` or a folder. A catalogue is held in memory, one at a time.
        options: `source_language`, `languages`; `on_skip` hears of untranslated, fuzzy and obsolete messages, and of
            ids that stand for no text.

    Yields:
        Records with `source`, `target`, `lang`, with the line of the message (.mo: its number); BadRecords.

    Raises:
        DataError: a folder has no catalogues, or none in a wanted language.
    """
    catalogues = _catalogues(path) if path.is_dir() else [path]
    wanted = WantedLanguages(options.languages)
    there: set[str] = set()
    any_read = False
    for catalogue in catalogues:
        code = _language_of(catalogue, options)
        if code is None:
            any_read = True
            advice = 'add "Language: de\\n" to its header, or lay it in de/LC_MESSAGES/'
            yield BadRecord(str(catalogue), 1, f"the catalogue does not tell its language; {advice}")
            continue
        there.add(code)
        language = wanted.exact(code)
        if language and not _is_source(code, options):
            any_read = True
            yield from _read_catalogue(catalogue, language=language, options=options)
    if not any_read:
        asked = ", ".join(options.languages or ["any"])
        found = ", ".join(sorted(there)) or "none"
        raise DataError(f"{path}: no catalogue (.po, .mo) in a wanted language; asked for: {asked}; found: {found}")


def _is_source(code: str, options: ReadOptions) -> bool:
    """A catalogue in the source language is no translation; a regional one (en_GB) only if asked for by name."""
    if canonical(code) == canonical(options.source_language):
        return True
    same = primary_subtag(code) == canonical(options.source_language)
    return same and options.languages is None


def _catalogues(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".po", ".mo") and file.is_file())
    texts = {file.with_suffix("") for file in files if file.suffix.lower() == ".po"}
    return [file for file in files if file.suffix.lower() == ".po" or file.with_suffix("") not in texts]


def _language_of(catalogue: Path, options: ReadOptions) -> str | None:
    folder = catalogue.absolute().parent
    if folder.name == "LC_MESSAGES":  # what gettext itself goes by, whatever the header says
        return folder.parent.name
    with open_binary(catalogue) as handle:
        is_compiled = catalogue.suffix.lower() == ".mo"
        match = _HEADER_LANGUAGE.search(handle.read(MAX_CATALOGUE_BYTES if is_compiled else _HEADER_BYTES))
    if match:
        return match[1].decode()
    asked = {canonical(code) for code in options.languages or ()}
    names = (catalogue.stem, folder.name)
    return next((name for name in names if _CODE.fullmatch(name) or canonical(name) in asked), None)


def _read_catalogue(catalogue: Path, *, language: str, options: ReadOptions) -> Iterator[Record | BadRecord]:
    try:
        entries = _parse(catalogue)
    except (OSError, ValueError, struct.error, LookupError) as error:  # LookupError: an encoding that there is not
        yield _unreadable(catalogue, error)
        return
    has_defaults = any("Default:" in entry.comment for entry in entries)
    for number, entry in enumerate(entries, 1):
        reason = _reason_to_skip(entry)
        if reason is None:
            for source, target in _pairs(entry, has_defaults=has_defaults):
                values: dict[str, object] = {"source": source, "target": target, "lang": language}
                yield Record(values, str(catalogue), getattr(entry, "linenum", None) or number)
            if has_defaults and _IDENTIFIER.fullmatch(entry.msgid) and "Default:" not in entry.comment:
                reason = "identifier"
        if reason:
            options.on_skip(reason, 1)


def _parse(catalogue: Path) -> polib.POFile | polib.MOFile:
    import polib

    with open_binary(catalogue) as handle:
        raw = handle.read(MAX_CATALOGUE_BYTES + 1)
    if len(raw) > MAX_CATALOGUE_BYTES:
        raise ValueError(f"it is larger than {MAX_CATALOGUE_BYTES // 2**20} MiB")
    if catalogue.suffix.lower() == ".mo":
        _check_compiled(raw)
        return polib.mofile(str(catalogue), encoding=_encoding(raw))
    _check_texts(raw)
    encoding = _encoding(raw[:_HEADER_BYTES])
    try:
        return polib.pofile(str(catalogue), encoding=encoding)
    except OSError:
        # "#.text" without a space is a comment to gettext, but an error to polib.
        content = catalogue.read_text(encoding=encoding)
        spaced = _TIGHT_COMMENT.sub(r"\1 ", content)
        if spaced == content:
            raise
        return polib.pofile(spaced, encoding=encoding)


def _encoding(raw: bytes) -> str:
    match = _HEADER_CHARSET.search(raw)
    try:
        return codecs.lookup(match[1].decode()).name if match else "utf-8"
    except (LookupError, ValueError):  # such as CHARSET, in a header that nobody has filled in
        return "utf-8"


def _check_compiled(raw: bytes) -> None:
    """Refuse a .mo whose tables point out of it or again and again to the same place: polib believes them.

    Source: "The Format of GNU MO Files" in the manual of gettext.
    """
    order = _MO_MAGIC.get(raw[:4])
    if order is None or len(raw) < _MO_HEADER.size:
        raise ValueError("its first bytes are not those of a .mo file")
    _, _, count, *tables = struct.unpack(f"{order}5I", raw[:20])
    total = 0
    for table in tables:
        if table + 8 * count > len(raw):
            raise ValueError("a table in it points out of the file")
        for length, start in struct.iter_unpack(f"{order}II", raw[table : table + 8 * count]):
            if start + length > len(raw):
                raise ValueError("a text in it points out of the file")
            total += length
    if total > len(raw):
        raise ValueError("its texts lie upon one another")


def _check_texts(raw: bytes) -> None:
    """Refuse a .po with a text of endless lines."""
    first, size = 1, 0
    for number, line in enumerate(raw.split(b"\n"), 1):
        if line.lstrip(b" \t#~").startswith(b'"'):
            size += len(line)
        else:
            first, size = number, len(line)
        if number - first > MAX_TEXT_LINES or size > MAX_TEXT_BYTES:
            raise ValueError(f"(line {first}): a text of more than {MAX_TEXT_LINES} lines or {MAX_TEXT_BYTES} bytes")


def _reason_to_skip(entry: polib.POEntry) -> str | None:
    if entry.obsolete:
        return "obsolete"
    if "fuzzy" in entry.flags:
        return "fuzzy"
    return None if all(_forms(entry)) else "untranslated"


def _forms(entry: polib.POEntry) -> list[str]:
    """Return the translations: one, or those for each plural form in order."""
    return [entry.msgstr_plural[key] for key in sorted(entry.msgstr_plural)] or [entry.msgstr]


def _pairs(entry: polib.POEntry, *, has_defaults: bool) -> Iterator[tuple[str, str]]:
    source = _default(entry.comment) if has_defaults else None
    if source is None and has_defaults and _IDENTIFIER.fullmatch(entry.msgid):
        return
    forms = _forms(entry)
    yield _one_line(source or entry.msgid), _one_line(forms[0])
    if entry.msgid_plural:
        yield _one_line(entry.msgid_plural), _one_line(forms[-1])


def _default(comment: str) -> str | None:
    import polib

    match = _DEFAULT.search(comment[:MAX_COMMENT])
    return polib.unescape("".join(_QUOTED.findall(match[1]))) if match else None


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _unreadable(catalogue: Path, error: Exception) -> BadRecord:
    """Find the line that the parser stumbled over; the catalogue as a whole is not used."""
    name = str(catalogue)
    if isinstance(error, UnicodeDecodeError):
        data = catalogue.read_bytes()
        charset = _HEADER_CHARSET.search(data[:_HEADER_BYTES])
        encoding = charset[1].decode(errors="replace") if charset else "UTF-8"
        for line, raw in enumerate(data.split(b"\n"), 1):
            try:
                raw.decode(encoding)
            except (UnicodeDecodeError, LookupError):
                return BadRecord(name, line, f"not {encoding}, which the catalogue's header declares; convert the file")
    match = _SYNTAX_ERROR.search(str(error))
    if match:
        reason = match[2] or "text where none belongs"
        return BadRecord(name, int(match[1]), f"not gettext syntax: {reason}; check the file with msgfmt -c")
    return BadRecord(name, 1, f"not a gettext catalogue, or a damaged one ({error})")
