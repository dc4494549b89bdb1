"""Each format is read into the same records, and each way that a file can be broken is told with its line."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polib
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import counting, read_all

from mlembed.data.readers import FORMATS, ReadOptions, lines, read
from mlembed.errors import DataError

PAIRS = [('Good morning, dear "reader"', "Guten Morgen, lieber „Leser“"), ("The cat\u2028sleeps", "Die Katze schläft")]
OPTIONS = ReadOptions()


# --- every format holds the same two pairs ---


def _tsv(folder: Path) -> Path:
    path = folder / "toy.tsv"
    path.write_text(
        "".join("\t".join(row) + "\n" for row in [("source", "target", "lang"), *((*p, "de") for p in PAIRS)])
    )
    return path


def _csv(folder: Path) -> Path:
    path = folder / "toy.csv"
    quoted = [[cell.replace('"', '""') for cell in (*pair, "de")] for pair in PAIRS]
    path.write_text("source,target,lang\n" + "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in quoted))
    return path


def _jsonl(folder: Path) -> Path:
    path = folder / "toy.jsonl"
    path.write_text("".join(json.dumps({"source": s, "target": t, "lang": "de"}) + "\n" for s, t in PAIRS))
    return path


def _parquet(folder: Path) -> Path:
    path = folder / "toy.parquet"
    pq.write_table(
        pa.table({"source": [s for s, _ in PAIRS], "target": [t for _, t in PAIRS], "lang": ["de", "de"]}), path
    )
    return path


def _tmx(folder: Path) -> Path:
    path = folder / "toy.tmx"
    units = "\n".join(
        f'<tu><tuv xml:lang="en-US"><seg>{s}</seg></tuv>\n<tuv xml:lang="de"><seg>{t}</seg></tuv></tu>'
        for s, t in PAIRS
    )
    doctype = '<!DOCTYPE tmx SYSTEM "tmx14.dtd">'
    path.write_text(f'<?xml version="1.0"?>\n{doctype}\n<tmx version="1.4"><header/><body>\n{units}\n</body></tmx>')
    return path


def _gettext(folder: Path) -> Path:
    catalogue = polib.POFile()
    catalogue.metadata = {"Content-Type": "text/plain; charset=UTF-8", "Language": "de"}
    catalogue.extend(polib.POEntry(msgid=s, msgstr=t) for s, t in PAIRS)
    catalogue.save(str(folder / "toy.po"))
    catalogue.save_as_mofile(str(folder / "toy.mo"))
    return folder / "toy.po"


def _moses(folder: Path) -> Path:
    (folder / "toy.en").write_text("".join(f"{s}\n" for s, _ in PAIRS))
    (folder / "toy.de").write_text("".join(f"{t}\n" for _, t in PAIRS))
    return folder / "toy"


WRITERS: dict[str, Callable[[Path], Path]] = {
    "TSV": _tsv,
    "CSV": _csv,
    "JSONL": _jsonl,
    "Parquet": _parquet,
    "TMX": _tmx,
    "gettext": _gettext,
    "Moses": _moses,
}


def test_every_format_has_a_writer_here() -> None:
    assert [format.name for format in FORMATS] == list(WRITERS)


@pytest.mark.parametrize("format", WRITERS)
def test_every_format_gives_the_same_records(format: str, tmp_path: Path) -> None:
    records, bad = read_all(WRITERS[format](tmp_path))
    assert not bad
    found = [(" ".join(str(r.values["source"]).split()), r.values["target"], r.values["lang"]) for r in records]
    assert found == [(" ".join(s.split()), t, "de") for s, t in PAIRS]


@pytest.mark.parametrize("format", ["TSV", "CSV", "JSONL", "TMX", "Moses"])
def test_formats_of_text_are_read_compressed(format: str, tmp_path: Path) -> None:
    path = WRITERS[format](tmp_path)
    plain = [r.values for r in read_all(path)[0]]
    for file in list(tmp_path.iterdir()):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    records, bad = read_all(path if format == "Moses" else path.with_name(f"{path.name}.gz"))
    assert ([r.values for r in records], bad) == (plain, [])


def test_mo_catalogues_are_read_too(tmp_path: Path) -> None:
    catalogue = polib.pofile(str(_gettext(tmp_path)))
    catalogue.append(polib.POEntry(msgid="day", msgid_plural="days", msgstr_plural={0: "Tag", 1: "Tage"}))
    catalogue.save_as_mofile(str(tmp_path / "toy.mo"))
    records, _ = read_all(tmp_path / "toy.mo")
    assert {r.values["target"] for r in records} == {"Tag", "Tage", *(t for _, t in PAIRS)}
    assert {r.values["lang"] for r in records} == {"de"}
    assert [r.line for r in records] == [1, 2, 3, 3], "the number of the entry"


def test_reading_modules_import_nothing_heavy() -> None:
    code = "import sys, mlembed.data.parallel, mlembed.data.split; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["torch", "transformers", "numpy", "pyarrow", "datasets", "polib"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- F27: broken files ---


def test_tsv_with_bom_crlf_quotes_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "toy.tsv"
    path.write_bytes('\ufeffsource\ttarget\r\n"a\tb\r\n\r\nc \rd\te\x0bf\r\n'.encode())
    options, skipped = counting()
    records, bad = read_all(path, options)
    assert [(r.values, r.line) for r in records] == [
        ({"source": '"a', "target": "b"}, 2),
        ({"source": "c \rd", "target": "e\x0bf"}, 4),
    ]
    assert (bad, skipped) == ([], {"blank_line": 1})


def test_tsv_tells_broken_rows_with_their_lines_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "toy.tsv"
    path.write_bytes(b"source\ttarget\na\tb\nonly one\na\tb\tc\n\xff\tb\nlast\trow")
    records, bad = read_all(path)
    assert [r.line for r in records] == [2, 6]
    assert [(b.path, b.line) for b in bad] == [(str(path), 3), (str(path), 4), (str(path), 5)]
    assert "2 columns expected (source, target), 1 column found" in bad[0].problem
    assert "3 columns found" in bad[1].problem
    assert "byte 1 of the line is 0xff" in bad[2].problem


def test_csv_counts_lines_through_fields_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "toy.csv"
    path.write_bytes(
        b'source,target\r\n"two\r\nlines","x, ""y"""\r\n1,2,3\r\n"bad \xe9\r\nbyte",z\r\na,b\r\n"open,c\r\n'
    )
    records, bad = read_all(path)
    assert [(r.values["source"], r.values["target"], r.line) for r in records] == [
        ("two\nlines", 'x, "y"', 2),
        ("a", "b", 7),
    ]
    assert [b.line for b in bad] == [4, 5, 8]
    assert "2 columns expected" in bad[0].problem
    assert "not UTF-8" in bad[1].problem
    assert "a quote that is not closed" in bad[2].problem


def test_utf16_is_recognized(tmp_path: Path) -> None:
    path = tmp_path / "toy.tsv"
    path.write_bytes("source\ttarget\na\tb\n".encode("utf-16"))
    records, bad = read_all(path)
    assert (records, [b.problem for b in bad]) == ([], ["the file is UTF-16; save it as UTF-8"])


def test_a_column_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "toy.tsv"
    path.write_text("source\tsource\n")
    with pytest.raises(DataError, match=r"toy\.tsv:1: the header names the column 'source' twice"):
        read_all(path)


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 64)
    path = tmp_path / "toy.tsv"
    path.write_text("source\n" + "x" * 1000 + "\nshort\n")
    records, bad = read_all(path)
    assert [(r.values["source"], r.line) for r in records] == [("short", 3)]
    assert [(b.line, "longer than" in b.problem) for b in bad] == [(2, True)]


@pytest.mark.parametrize("name", ["toy.tsv", "toy.csv", "toy.jsonl", "toy.parquet", "toy.tmx", "toy.po", "toy.tsv.gz"])
def test_an_empty_file_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=rf"{name}:1: the file is empty"):
        read(tmp_path / name, OPTIONS)


def test_a_compressed_empty_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "toy.tsv.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match=r"toy\.tsv\.gz: the file is empty"):
        read_all(tmp_path / "toy.tsv.gz")


@pytest.mark.parametrize("name", ["toy.tsv.gz", "toy.csv.gz", "toy.jsonl.gz", "toy.tmx.gz"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "plain"])
def test_damaged_gzip_data_is_told_without_a_traceback(name: str, damage: str, tmp_path: Path) -> None:
    data = bytearray(gzip.compress(b"source\n" + b"".join(b"%d\n" % n for n in range(20000))))
    data[len(data) // 2] ^= 255 if damage == "flipped" else 0
    path = tmp_path / name
    path.write_bytes(b"source\n" if damage == "plain" else data[: -len(data) // 2] if damage == "truncated" else data)
    _, bad = read_all(path)
    assert bad[-1].path == str(path)
    assert "gzip" in bad[-1].problem or (name == "toy.tmx.gz" and "malformed XML" in bad[-1].problem)


def test_jsonl_tells_what_is_no_object(tmp_path: Path) -> None:
    path = tmp_path / "toy.jsonl"
    path.write_text('\ufeff{"a": 1}\n[1]\n{"a": \n\n{"a": "\\ud800"}\n' + "[" * 100000 + '\n{"a": "\\ud83d\\ude00"}\n')
    options, skipped = counting()
    records, bad = read_all(path, options)
    assert [(r.values, r.line) for r in records] == [({"a": 1}, 1), ({"a": "😀"}, 7)]
    assert [b.line for b in bad] == [2, 3, 5, 6]
    assert "list found" in bad[0].problem
    assert "column" in bad[1].problem
    assert skipped == {"blank_line": 1}


def test_parquet_with_bad_utf8_and_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "toy.parquet"
    texts = pa.array([b"good", b"\xff", b"fine"]).view(pa.string())
    pq.write_table(pa.table({"source": texts}), path)
    records, bad = read_all(path)
    assert [(r.values["source"], r.line) for r in records] == [("good", 1), ("fine", 3)]
    assert [b.line for b in bad] == [2]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"toy\.parquet:1: cannot be read as Parquet"):
        read_all(path)


def test_moses_files_of_different_length_give_no_rows(tmp_path: Path) -> None:
    (tmp_path / "c.en").write_text("one\ntwo\nthree\n")
    (tmp_path / "c.de").write_text("eins\nzwei\n")
    (tmp_path / "c.fr").write_bytes(b"un\n\xff\ntrois")
    (tmp_path / "c.log").write_text("not a language")
    records, bad = read_all(tmp_path / "c")
    assert [(r.values, r.line) for r in records] == [
        ({"source": "one", "target": "un", "lang": "fr"}, 1),
        ({"source": "three", "target": "trois", "lang": "fr"}, 3),
    ]
    assert (bad[0].path, bad[0].line) == (str(tmp_path / "c.de"), 3)
    assert bad[0].problem.startswith("2 lines, but c.en has 3")
    assert (bad[1].path, bad[1].line) == (str(tmp_path / "c.fr"), 2)
    assert [r.line for r in read_all(tmp_path / "c", ReadOptions(languages=("fr",)))[0]] == [1, 3]
    with pytest.raises(
        DataError, match=r"c\.en: no file of translations beside it; asked for: hi; found: c\.de, c\.fr"
    ):
        read_all(tmp_path / "c", ReadOptions(languages=("hi",)))


# --- which reader ---


def test_missing_and_unknown_files_are_explained(tmp_path: Path) -> None:
    _moses(tmp_path)
    (tmp_path / "train.tsv").write_text("source\n")
    (tmp_path / "train.docx").write_text("x")
    with pytest.raises(DataError, match=r"trian\.tsv: no such file; did you mean .*train\.tsv \?"):
        read(tmp_path / "trian.tsv", OPTIONS)
    with pytest.raises(DataError, match=r"there is no folder .*nowhere either"):
        read(tmp_path / "nowhere/train.tsv", OPTIONS)
    with pytest.raises(DataError, match=r"train\.docx: unknown format; known are TSV \.tsv \.tsv\.gz; CSV"):
        read(tmp_path / "train.docx", OPTIONS)
    with pytest.raises(DataError, match=r"toy\.en: to read aligned text files, give .*toy$"):
        read(tmp_path / "toy.en", OPTIONS)


@pytest.mark.parametrize(("name", "sign"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", ",")])
def test_columns_with_another_separator_are_told(name: str, sign: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("\n".join(sign.join(row) for row in (["source", "target", "lang"], ["a", "b", "de"])) + "\n")
    with pytest.raises(DataError, match=r":1: the header is one column, .* not by "):
        list(read(path, ReadOptions()))
