"""Files that fill the memory, never end, or lead elsewhere: refused in words, with bounds on memory."""

from __future__ import annotations

import gzip
import json
import os
import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import read_all

from mlembed.data.labelled import read_examples
from mlembed.data.readers import ReadOptions, lines, read
from mlembed.data.records import BadRecord
from mlembed.data.where import Where
from mlembed.errors import DataError

MIB = 2**20
UNIT = b'<tu><tuv xml:lang="en"><seg>a</seg></tuv><tuv xml:lang="de"><seg>b</seg></tuv></tu>'
HEADER = b"source\ttarget\tlang\n"
ROW = {"source": "a", "target": "b", "lang": "de"}


def repeated(unit: bytes, *, mib: int) -> bytes:
    """A gzip file of many MiB, as small as it gets: its members are all the same."""
    return gzip.compress(unit * (MIB // len(unit)), mtime=0) * mib


def tmx(before: bytes, body: bytes = UNIT) -> bytes:
    return b'<?xml version="1.0"?>' + before + b'<tmx version="1.4"><body>' + body + b"</body></tmx>"


def laughs() -> bytes:
    declared = b"".join(b'<!ENTITY l%d "%s">' % (at, b"&l%d;" % (at - 1) * 10) for at in range(1, 10))
    return tmx(b'<!DOCTYPE tmx [<!ENTITY l0 "ha">' + declared + b"]>", UNIT.replace(b"a</seg>", b"&l9;</seg>"))


def mo(count: int, tables: tuple[int, int], *, pairs: list[tuple[int, int]] | None = None) -> bytes:
    """A compiled catalogue with a header that says anything."""
    index = b"".join(struct.pack("<II", *pair) for pair in pairs or [])
    return struct.pack("<7I", 0x950412DE, 0, count, *tables, 0, 0) + index + b"\0Language: de\n\0"


def parquet_of_many_rows(folder: Path) -> bytes:
    """Three rows, and a footer that says 2^62 of the file."""
    pq.write_table(pa.table({name: [value] * 3 for name, value in ROW.items()}), folder / "x", compression="none")
    raw = (folder / "x").read_bytes()
    size = int.from_bytes(raw[-8:-4], "little")
    footer = raw[-8 - size : -8]
    at = footer.index(b"\x16\x06\x19")
    footer = footer[: at + 1] + b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01" + footer[at + 2 :]
    return raw[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


# Name of the file -> its content, and what is said of it.
REFUSED: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "billion laughs": ("a.tmx", laughs, "declares the entity 'l0'"),
    "external entity": (
        "a.tmx",
        lambda: tmx(b'<!DOCTYPE t [<!ENTITY x SYSTEM "/etc/passwd">]>'),
        "declares the entity",
    ),
    "deep XML": ("a.tmx.gz", lambda: repeated(b"<tmx>", mib=200), "more than 64 deep"),
    "endless tag": ("a.tmx.gz", lambda: gzip.compress(b"<tmx a='") + repeated(b"a", mib=200), "more than 4 MiB"),
    "endless comment": ("a.tmx.gz", lambda: gzip.compress(b"<tmx><!--") + repeated(b"a", mib=200), "more than 4 MiB"),
    "endless unit": (
        "a.tmx.gz",
        lambda: gzip.compress(b"<tmx><tu>") + repeated(b"<tuv xml:lang='de'><seg/></tuv>", mib=100),
        "more than 4096 texts",
    ),
    "long language": ("a.tmx", lambda: tmx(b"", UNIT.replace(b"de", b"d" * 1000)), "no language code"),
    "deep JSON": ("a.jsonl", lambda: b'{"source": ' + b"[" * 10**6 + b"]" * 10**6 + b"}", "nested too deeply"),
    "a bit deep JSON": ("a.jsonl", lambda: b'{"source": ' + b"[" * 101 + b"]" * 101 + b"}", "nested too deeply"),
    "a key twice": ("a.jsonl", lambda: b'{"source": "a", "source": "b", "target": "c"}', "'source' is there twice"),
    "half a pair": ("a.jsonl", lambda: b'{"source": "\\ud800", "target": "c"}', "not valid Unicode"),
    "huge integer": ("a.jsonl", lambda: b'{"source": ' + b"9" * 10**6 + b"}", "digits"),
    "one line": ("a.tsv.gz", lambda: repeated(b"a", mib=100), "longer than 16 MiB"),
    "endless row": (
        "a.csv.gz",
        lambda: gzip.compress(b"a,b\n") + repeated(b'"' + b"x" * 1000 + b'\n",', mib=40),
        "longer than 16 MiB",
    ),
    "many columns": ("a.tsv", lambda: b"\t".join(b"%d" % at for at in range(10**5)) + b"\n", "4096 at most"),
    "UTF-16": ("a.csv", lambda: "source,target\nä,b\n".encode("utf-16"), "UTF-16"),
    "UTF-32": ("a.tsv", lambda: HEADER.decode().encode("utf-32"), "UTF-32"),
    "tables outside": ("a.mo", lambda: mo(2**31, (28, 2**31)), "points out of the file"),
    "texts outside": ("a.mo", lambda: mo(1, (28, 28), pairs=[(2**31, 0)]), "points out of the file"),
    "texts on one another": ("a.mo", lambda: mo(2, (28, 28), pairs=[(40, 0), (40, 0)]), "lie upon one another"),
    "endless text": (
        "a.po",
        lambda: b'msgid ""\nmsgstr "Language: de\\n"\n' + b'"a"\n' * 20_000,
        "more than 10000 lines",
    ),
    "no such encoding": (
        "a.po",
        lambda: b'#.a\nmsgid ""\nmsgstr ""\n"Language: de\\n"\n"Content-Type: text/plain; charset=rot13\\n"\n',
        "not a text encoding",
    ),
}


def in_little_memory(path: Path, *, mib: int = 160) -> str:
    """Read a file in a process that may take so much more memory; returns the first problem, or what was raised."""
    receiver, sender = os.pipe()
    if (process := os.fork()) == 0:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + mib * MIB, resource.RLIM_INFINITY))
        try:
            bad = [one.problem for one in read(path, ReadOptions(languages=("de",))) if isinstance(one, BadRecord)]
            said = bad[0] if bad else "nothing"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(sender, said.encode(errors="replace")[:4000])
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver, "rb") as file:
        said = file.read().decode()
    assert os.waitpid(process, 0)[1] == 0
    return said


@pytest.mark.parametrize("case", REFUSED)
def test_such_files_are_refused(case: str, tmp_path: Path) -> None:
    name, content, message = REFUSED[case]
    (tmp_path / "de").mkdir()
    path = tmp_path / "de" / name
    path.write_bytes(content())
    said = in_little_memory(path)
    assert message in said
    assert "Error" not in said or said.startswith("DataError: "), said


def test_a_header_that_says_one_thing_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "de.po"
    path.write_bytes(b'msgid ""\nmsgstr ""\n"' + b"Content-Type: " * 9000 + b'\\n"\n\nmsgid "a"\nmsgstr "b"\n')
    started = time.process_time()
    assert [one.values for one in read_all(path)[0]] == [ROW]
    assert time.process_time() - started < 5, "not by the square of its length"


@pytest.mark.parametrize("blocks", [0, None, {"sentences": 1}, [None], [{"sentences": None}], [{"sentences": [1]}]])
def test_intents_of_another_shape(blocks: object, tmp_path: Path) -> None:
    content = {"language": "de", "intents": {"x": {"data": blocks}, "y": blocks}, "expansion_rules": {}}
    (tmp_path / "de.json").write_text(json.dumps(content))
    assert read_all(tmp_path / "de.json") == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sparse", "compressed"])
def test_one_line_of_two_gib(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    if kind == "sparse":
        path.write_bytes(HEADER)
        os.truncate(path, 2**31)
    else:
        path = tmp_path / "a.tsv.gz"
        path.write_bytes(gzip.compress(HEADER) + repeated(b"a", mib=2048))
    assert "longer than 16 MiB" in in_little_memory(path)


def test_a_line_without_end_ends_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_SKIPPED_BYTES", 64 * MIB)
    with pytest.raises(DataError, match="this is no file of texts"):
        list(lines.text_lines(Path("/dev/zero")))


def test_declared_rows_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet_of_many_rows(tmp_path))
    assert pq.read_metadata(path).num_rows == 2**62
    records, bad = read_all(path)
    assert [one.values for one in records] == [ROW] * 3
    assert bad == []


def test_a_column_twice_in_parquet(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"])] * 2, names=["source", "source"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="two columns have the name 'source'"):
        read_all(tmp_path / "a.parquet")


def test_dates_that_python_does_not_know_are_bad_rows(tmp_path: Path) -> None:
    days = pa.array([0, 10**9], pa.int32()).view(pa.date32())
    pq.write_table(pa.table({"source": ["a", "b"], "target": ["c", "d"], "day": days}), tmp_path / "a.parquet")
    records, bad = read_all(tmp_path / "a.parquet")
    assert [one.values["source"] for one in records] == ["a"]
    assert [one.line for one in bad] == [2]


def test_an_external_description_is_not_fetched(tmp_path: Path) -> None:
    path = tmp_path / "a.tmx"
    path.write_bytes(tmx(b'<!DOCTYPE tmx SYSTEM "http://127.0.0.1:9/x.dtd">'))
    assert [one.values for one in read_all(path)[0]] == [ROW]


def test_nul_bytes_and_mixed_line_ends_are_text(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + HEADER + b"a\0a\tb\tde\r\nc\td\tde\n")
    assert [one.values["source"] for one in read_all(path)[0]] == ["a\0a", "c"]


@pytest.mark.parametrize("name", ["a.tsv", "a.jsonl", "a.parquet", "a.po", "a.csv.gz", "news"])
def test_what_is_no_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.symlink_to(path)
    with pytest.raises(DataError, match="no such file"):
        read_all(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match="a device or a pipe" if "." in name else "unknown format|device"):
        read_all(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="no catalogue"):
        read_all(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(DataError, match="a device or a pipe"):
        read_all(path)


@pytest.mark.parametrize("score", ["1e999", "NaN", "-Infinity", "null", '"nan"', "true", '"1e999"'])
def test_scores_that_are_no_numbers(score: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "a", "text_b": "b", "score": {score}, "lang": "de"}}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:1: .*score"):
        read_examples(
            [str(path)],
            shape="pair",
            answers="score",
            columns={},
            options=ReadOptions(),
            where=Where(),
            on_error="stop",
            max_chars=None,
        )


def test_messages_quote_what_is_long_in_part(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": ["x"] * 10**6, "label": "a"}))
    with pytest.raises(DataError, match="where a text is expected") as caught:
        read_examples(
            [str(path)],
            shape="text",
            answers="label",
            columns={},
            options=ReadOptions(languages=(), source_language="en"),
            where=Where(),
            on_error="stop",
            max_chars=None,
        )
    assert len(str(caught.value)) < 1500
