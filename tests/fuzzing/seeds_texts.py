"""Small valid files of text data, in every format that is read."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from pathlib import Path

from fuzzing.mutations import Files

PAIRS = [('Good morning, "reader"', "Guten Morgen", "de"), ("The cat sleeps", "Le chat dort", "fr")]
LABELLED = [
    {"text": "Turn on the light", "label": "on", "lang": "en", "id": 1},
    {"text": "Schalte das Licht ein", "label": ["on", "light"], "lang": "de", "score": 0.5, "text_b": "Licht an"},
    {"tokens": ["Anna", "lives", "in", "Rome"], "tags": ["B-PER", "O", "O", "B-LOC"], "lang": "en"},
]
TMX = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header srclang="en"/><body>
<tu tuid="1"><tuv xml:lang="en-US"><seg>Good <bpt i="1">&lt;b&gt;</bpt>morning</seg></tuv>
<tuv xml:lang="de"><seg>Guten Morgen</seg></tuv></tu>
<tu><tuv lang="en"><seg>The cat</seg></tuv><tuv lang="fr-CA"><seg>Le chat &amp; moi</seg></tuv></tu>
</body></tmx>
"""
PO = r"""# A comment
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Language: de\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\n"

#. Default: "Good morning, reader"
#: src/a.py:12 src/b.py:3
msgid "label_morning"
msgstr "Guten Morgen"

#, fuzzy, python-format
#| msgid "old"
msgctxt "menu"
msgid "The cat"
msgstr "Die Katze"

msgid "%d day"
msgid_plural "%d days"
msgstr[0] "%d Tag"
msgstr[1] "%d Tage"

#~ msgid "gone"
#~ msgstr "weg"
"""
INTENTS = {
    "language": "de",
    "intents": {
        "On": {"data": [{"sentences": ["(turn|switch) on [all] [the] lights", "<area> {name} on", "a;b;c"]}]},
        "Off": {"data": [{"sentences": ["off [<area>]"]}, {"sentences": ["(x;y)"]}]},
    },
    "expansion_rules": {"area": "[in] [the] (kitchen|hall)", "deep": "<area> <area>"},
}


def _table(separator: str, *, quoted: bool) -> bytes:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if quoted else text

    rows = [("source", "target", "lang"), *PAIRS]
    return "".join(separator.join(cell(text) for text in row) + "\n" for row in rows).encode()


def tsv() -> list[Files]:
    """Tables with tabs, one with line ends of Windows and a byte order mark."""
    plain = _table("\t", quoted=False)
    return [{"data.tsv": plain}, {"data.tsv": b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n")}]


def csv() -> list[Files]:
    """Tables with commas and quotes."""
    return [{"data.csv": _table(",", quoted=True)}, {"data.csv": b'source,target\n"a\nb","c""d"\n\nx,y\n'}]


def jsonl() -> list[Files]:
    """A line an object."""
    lines = [json.dumps(dict(zip(("source", "target", "lang"), pair, strict=True))) for pair in PAIRS]
    return [
        {"data.jsonl": "\n".join(lines).encode()},
        {"data.jsonl": b'{"source": null, "target": "b", "lang": "de"}\n'},
    ]


def labelled() -> list[Files]:
    """Rows with labels, tags, scores."""
    text = b"text\ttext_b\tlabel\tscore\tlang\nA cat\tEine Katze\tanimal|pet\t0.5\tde\n"
    words = b"tokens\ttags\tlang\nAnna lives\tB-PER O\tde\n"
    return [
        {"data.jsonl": "\n".join(json.dumps(row) for row in LABELLED).encode()},
        {"data.tsv": text},
        {"data.tsv": words},
    ]


def parquet() -> list[Files]:
    """Plain, compressed, with dictionaries, nested columns, times and decimals."""
    import datetime
    import decimal

    import pyarrow as pa
    import pyarrow.parquet as pq

    source, target, language = (list(column) for column in zip(*PAIRS, strict=True))
    plain = pa.table({"source": source, "target": target, "lang": language})
    nested = plain.append_column("tokens", pa.array([["a", "b"], None]))
    nested = nested.append_column("more", pa.array([{"x": 1, "y": [1.5]}, {"x": None, "y": []}]))
    zone = datetime.UTC
    odd = plain.append_column(
        "at", pa.array([datetime.datetime(2020, 1, 1, tzinfo=zone)] * 2, pa.timestamp("ns", "UTC"))
    )
    odd = odd.append_column("much", pa.array([decimal.Decimal("1.50"), None]))
    odd = odd.append_column("map", pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int32())))
    options: list[tuple[object, dict[str, object]]] = [
        (plain, {"compression": "none"}),
        (plain, {"compression": "snappy", "use_dictionary": False, "data_page_version": "2.0"}),
        (nested, {"compression": "zstd"}),
        (odd, {"compression": "none", "store_schema": True}),
    ]
    files: list[Files] = []
    for table, how in options:
        buffer = io.BytesIO()
        pq.write_table(table, buffer, **how)
        files.append({"data.parquet": buffer.getvalue()})
    return files


def tmx() -> list[Files]:
    """Translation memories, one in UTF-16."""
    return [{"data.tmx": TMX.encode()}, {"data.tmx": TMX.replace("UTF-8", "UTF-16").encode("utf-16")}]


def po() -> list[Files]:
    """Catalogues; one tells its language by its folder."""
    return [{"de.po": PO.encode()}, {"fr/LC_MESSAGES/a.po": PO.replace("UTF-8", "latin-1").encode("latin-1")}]


def mo() -> list[Files]:
    """Compiled catalogues."""
    import polib

    with tempfile.TemporaryDirectory() as folder:
        polib.pofile(PO).save_as_mofile(f"{folder}/de.mo")
        compiled = Path(folder, "de.mo").read_bytes()
    return [{"de.mo": compiled}]


def moses() -> list[Files]:
    """Two aligned files."""
    return [{"news.en": b"Good morning\nThe cat\n", "news.de": "Guten Morgen\nDie Kätzchen\n".encode()}]


def gz() -> list[Files]:
    """Compressed files of each format of text."""
    found = [*tsv(), *csv(), *jsonl(), *tmx(), *moses()]
    return [{f"{name}.gz": gzip.compress(content, mtime=0) for name, content in files.items()} for files in found]


def intents() -> list[Files]:
    """Sentence templates of a house."""
    return [{"de.json": json.dumps(INTENTS).encode()}]
