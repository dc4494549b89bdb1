"""Inputs that have the right form and odd contents, as strategies of hypothesis."""

from __future__ import annotations

import io
import json
import struct
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from hypothesis import strategies as st

from fuzzing.mutations import TOKENS, Files

ANY_TEXT = st.text(max_size=20)
# With what JSON may hold and UTF-8 may not.
WILD_TEXT = st.text(st.characters(exclude_categories=()), max_size=10)
LANGUAGES = st.sampled_from(("en", "de", "fr", "en-US", "de_AT", "zh_Hant", "", " ", "x" * 300, "e\0n")) | ANY_TEXT
COLUMNS = st.sampled_from(("source", "target", "lang", "text", "text_b", "label", "score", "tokens", "tags", "id", "x"))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WILD_TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3))


def tables(name: str, separator: str) -> st.SearchStrategy[Files]:
    """Tables whose cells hold anything."""
    cells = ANY_TEXT | LANGUAGES | st.sampled_from([token.decode(errors="replace") for token in TOKENS])
    rows = st.lists(st.lists(cells, min_size=1, max_size=4), max_size=5)
    headers = st.permutations(["source", "target", "lang"]) | st.lists(COLUMNS, max_size=4)

    def written(header: list[str], body: list[list[str]]) -> Files:
        lines = [separator.join(row) for row in [header, *body]]
        return {name: "\n".join(lines).encode(errors="replace")}

    return st.builds(written, headers, rows)


def _lines(rows: st.SearchStrategy[Any]) -> st.SearchStrategy[Files]:
    return st.lists(rows, max_size=5).map(lambda found: {"data.jsonl": "\n".join(map(json.dumps, found)).encode()})


def json_lines() -> st.SearchStrategy[Files]:
    """Lines of JSON, most of them objects with the right columns."""
    values = WILD_TEXT | LANGUAGES | JSON
    return _lines(st.fixed_dictionaries({"source": values, "target": values}, optional={"lang": values}) | JSON)


def labelled_lines() -> st.SearchStrategy[Files]:
    """Rows with labels, tags and scores of any type."""
    words = st.lists(WILD_TEXT | st.sampled_from(("O", "B-X", "I-X", "B-", "-")), max_size=4)
    values = WILD_TEXT | words | st.floats() | st.integers() | JSON
    return _lines(st.dictionaries(COLUMNS, values, max_size=8))


def parquet_tables() -> st.SearchStrategy[Files]:
    """Tables with columns of many types, and texts that are not UTF-8."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = st.sampled_from(
        [
            pa.string(),
            pa.large_string(),
            pa.binary(),
            pa.int64(),
            pa.float16(),
            pa.timestamp("ns"),
            pa.timestamp("us", "Mars/Phobos"),
            pa.date64(),
            pa.time64("ns"),
            pa.duration("ns"),
            pa.list_(pa.string()),
            pa.dictionary(pa.int8(), pa.string()),
            pa.struct([("a", pa.int8()), ("a", pa.string())]),
            pa.map_(pa.string(), pa.int8()),
        ]
    )

    def written(columns: list[tuple[str, Any]], rows: int, numbers: list[int]) -> Files:
        arrays = [_array(pa, kind, [numbers[at % len(numbers)] for at in range(rows)]) for _, kind in columns]
        buffer = io.BytesIO()
        table = pa.Table.from_arrays(arrays, schema=pa.schema([pa.field(name, kind) for name, kind in columns]))
        try:
            pq.write_table(table, buffer)
        except pa.ArrowException:  # a type that Parquet does not know
            return {"data.parquet": b"PAR1"}
        return {"data.parquet": buffer.getvalue()}

    numbers = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3)
    return st.builds(written, st.lists(st.tuples(COLUMNS, types), max_size=5), st.integers(0, 3), numbers)


def _array(pa: Any, kind: Any, numbers: list[int]) -> Any:
    """An array of a type, whose bits are those of the numbers."""
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return pa.array([struct.pack("<q", number) for number in numbers], pa.binary()).view(kind)
    if kind.num_fields or pa.types.is_dictionary(kind) or pa.types.is_large_string(kind):
        return pa.nulls(len(numbers), kind)
    width = kind.bit_width // 8
    data = b"".join(number.to_bytes(8, "little", signed=True)[:width] for number in numbers)
    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(data)])


def memories() -> st.SearchStrategy[Files]:
    """TMX of odd elements."""
    segments = st.builds(lambda text: f"<seg>{escape(text)}</seg>", ANY_TEXT) | st.sampled_from(
        ("<seg/>", "<seg><hi>a<seg>b</seg></hi></seg>", "<seg>&undefined;</seg>", "<tu>", "</tu>", "<seg>", "&#xD800;")
    )
    variants = st.builds(
        lambda language, inner: f"<tuv xml:lang={quoteattr(language)}>{''.join(inner)}</tuv>",
        LANGUAGES,
        st.lists(segments, max_size=3),
    )
    units = st.lists(variants, max_size=4).map(lambda inner: f"<tu>{''.join(inner)}</tu>")
    heads = st.sampled_from(
        ("", '<?xml version="1.0" encoding="x"?>', "<!DOCTYPE tmx [<!ENTITY a SYSTEM 'file:///x'>]>")
    )

    def written(head: str, body: list[str]) -> Files:
        text = f"{head}<tmx><body>{''.join(body)}</body></tmx>"
        return {"data.tmx": text.encode(errors="replace")}

    return st.builds(written, heads, st.lists(units, max_size=4))


def catalogues() -> st.SearchStrategy[Files]:
    """Catalogues whose parts stand in any order."""
    words = st.sampled_from(
        (
            "msgid",
            "msgstr",
            "msgid_plural",
            "msgctxt",
            "msgstr[0]",
            "msgstr[1]",
            "msgstr[x]",
            "#,",
            "#.",
            "#:",
            "#|",
            "#~",
        )
    )
    texts = ANY_TEXT | st.sampled_from(('Default: \\"a\\"', "\\", '"', "Language: de\\n", "charset=utf-16", "fuzzy"))
    lines = st.builds(lambda word, text: f'{word} "{text}"', words, texts) | texts
    header = 'msgid ""\nmsgstr "Language: de\\n"\n\n'
    return st.lists(lines, max_size=12).map(lambda found: {"de.po": (header + "\n".join(found)).encode()})


def compiled_catalogues() -> st.SearchStrategy[Files]:
    """Compiled catalogues whose tables point anywhere."""
    numbers = st.integers(0, 80) | st.sampled_from((2**31 - 1, 2**31, 2**32 - 1, 2**20))
    magic = st.sampled_from((0x950412DE, 0xDE120495))
    body = b"\0Language: de\n\0msgid\0plural\0\0one\0two\0context\4id\0"

    def written(first: int, rest: list[int]) -> Files:
        return {"de.mo": struct.pack(f"<{1 + len(rest)}I", first, *rest) + body}

    return st.builds(written, magic, st.lists(numbers, min_size=4, max_size=14))


def aligned_files() -> st.SearchStrategy[Files]:
    """Moses files, of different lengths now and then."""
    texts = st.lists(ANY_TEXT, max_size=4).map(lambda lines: "\n".join(lines).encode())
    return st.dictionaries(
        st.sampled_from(("news.en", "news.de", "news.zh_CN", "news.fr")), texts | st.binary(max_size=20), min_size=1
    )


def templates() -> st.SearchStrategy[Files]:
    """Sentence templates of brackets and rules."""
    signs = st.text(st.sampled_from("ab ()[]|;<>{}\\"), max_size=30)
    names = st.sampled_from(("a", "b"))

    def written(sentences: list[str], rules: dict[str, str], more: Any) -> Files:
        content = {"language": "de", "intents": {"x": {"data": [{"sentences": sentences}, more]}, "y": more}}
        return {"de.json": json.dumps({**content, "expansion_rules": rules}).encode()}

    return st.builds(written, st.lists(signs, max_size=4), st.dictionaries(names, signs), JSON)


def command_words() -> st.SearchStrategy[Files]:
    """Keys that there are with values of any form."""
    from mlembed.config import TrainConfig
    from mlembed.config_door import names_of

    keys = st.sampled_from(names_of(TrainConfig)) | st.text(st.sampled_from("abl.r_@/:+~-"), max_size=10)
    values = ANY_TEXT | st.text(st.sampled_from("[]{}(),:'\"\\$=a1.e-_ "), max_size=15) | st.floats().map(str)
    marks = st.sampled_from(("", "+", "++", "~"))
    words = st.builds(lambda mark, key, value: f"{mark}{key}={value}", marks, keys, values) | ANY_TEXT
    return st.lists(words, max_size=4).map(lambda found: {"words.txt": "\n".join(found).encode()})


def manifests() -> st.SearchStrategy[Files]:
    """Manifests with odd names, sizes and hashes."""
    names = st.sampled_from(("state.json", "../x", "/etc/passwd", "student/config.json", "a\0b")) | ANY_TEXT
    entries = st.fixed_dictionaries({}, optional={"bytes": SCALARS, "sha256": SCALARS}) | JSON
    files = st.dictionaries(names, entries, max_size=4)
    return (st.fixed_dictionaries({"files": files}) | JSON).map(
        lambda found: {"manifest.json": json.dumps(found).encode()}
    )
