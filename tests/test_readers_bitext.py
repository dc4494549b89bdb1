"""TMX, gettext and hub data: languages, markup of the formats, hostile and broken files."""

from __future__ import annotations

import json
from pathlib import Path

import polib
import pytest
from reading import counting, read_all

from mlembed.data.readers import ReadOptions, open_source
from mlembed.data.readers.hub import read_hub
from mlembed.data.records import Record
from mlembed.errors import ConfigError, DataError

# --- TMX ---


def tmx(folder: Path, body: str, before: str = "") -> Path:
    """Write a TMX file whose body begins on line 2."""
    path = folder / "toy.tmx"
    path.write_text(f'{before}<tmx version="1.4"><header/><body>\n{body}\n</body></tmx>')
    return path


def test_tmx_languages_inline_tags_and_lines(tmp_path: Path) -> None:
    path = tmx(
        tmp_path,
        '<tu><note>no text</note><tuv xml:lang="EN-us"><seg>Press <hi>here</hi> &amp; wait</seg></tuv>\n'
        '<tuv lang="de_AT"><seg>österreichisch</seg></tuv>\n<tuv xml:lang="DE"><seg>Hier <ph>{0}</ph></seg></tuv>\n'
        '<tuv xml:lang="pt-BR"><seg>aqui</seg></tuv><tuv xml:lang="fr"><seg>ici</seg></tuv></tu>\n'
        '<tu><tuv xml:lang="en"><seg>alone</seg></tuv></tu><tu><tuv xml:lang="fr"><seg>seul</seg></tuv></tu>',
    )
    options, skipped = counting(languages=("de", "pt"))
    records, bad = read_all(path, options)
    assert [(r.values, r.line) for r in records] == [
        ({"source": "Press here & wait", "target": "Hier {0}", "lang": "de"}, 4),
        ({"source": "Press here & wait", "target": "aqui", "lang": "pt"}, 5),
    ]
    assert bad == []
    assert skipped == {"language": 2, "untranslated": 1, "no_source": 1}


def test_tmx_prefers_the_exact_source_language(tmp_path: Path) -> None:
    variants = "".join(f'<tuv xml:lang="{code}"><seg>{code}</seg></tuv>' for code in ("en-GB", "en-US", "de"))
    path = tmx(tmp_path, f"<tu>{variants}</tu>")
    for wanted, used in (("en", "en-GB"), ("en_us", "en-US")):
        records, _ = read_all(path, ReadOptions(source_language=wanted))
        assert [r.values for r in records] == [{"source": used, "target": "de", "lang": "de"}]


@pytest.mark.parametrize(
    "declaration",
    ['<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">', '<!ENTITY x SYSTEM "file:///etc/passwd">', '<!ENTITY % p "x">'],
)
def test_tmx_with_entities_is_refused(declaration: str, tmp_path: Path) -> None:
    records, bad = read_all(tmx(tmp_path, "", before=f"<!DOCTYPE tmx [\n{declaration}]>\n"))
    assert records == []
    assert [b.line for b in bad] == [2]
    assert "declares the entity" in bad[0].problem


def test_tmx_that_breaks_off_keeps_the_rows_before(tmp_path: Path) -> None:
    unit = '<tu><tuv xml:lang="en"><seg>a</seg></tuv><tuv xml:lang="de"><seg>b</seg></tuv></tu>\n'
    records, bad = read_all(tmx(tmp_path, unit + "<tu><tuv></wrong>\n" + unit))
    assert [r.line for r in records] == [2]
    assert [(b.line, "mismatched tag" in b.problem) for b in bad] == [(3, True)]
    records, bad = read_all(tmx(tmp_path, unit + unit.replace(' xml:lang="de"', "") + unit))
    assert [r.line for r in records] == [2, 4]
    assert [(b.line, "no xml:lang" in b.problem) for b in bad] == [(3, True)]
    path = tmx(tmp_path, "")
    path.write_text("<html></html>")
    assert "the root element is <html>" in read_all(path)[1][0].problem


def test_tmx_tells_undefined_entities_instead_of_losing_them(tmp_path: Path) -> None:
    unit = '<tu><tuv xml:lang="en"><seg>a&nbsp;b</seg></tuv><tuv xml:lang="de"><seg>c</seg></tuv></tu>'
    records, bad = read_all(tmx(tmp_path, unit, before='<!DOCTYPE tmx SYSTEM "tmx14.dtd">'))
    assert records == []
    assert "&nbsp; is not defined" in bad[0].problem


# --- gettext ---

HEADER = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n'


def po(path: Path, body: str, header: str = HEADER) -> Path:
    """Write a catalogue whose body begins on line 4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{header}\n{body}")
    return path


def test_gettext_defaults_plurals_and_what_is_skipped(tmp_path: Path) -> None:
    path = po(
        tmp_path / "de.po",
        '#. Default: "Say \\"hello\\""\n#. " to all"\n#: x.py:1\nmsgid "label_hello"\nmsgstr "Sag\\n  hallo"\n\n'
        'msgid "label_without_default"\nmsgstr "?"\n\n'
        'msgid "One item"\nmsgid_plural "%d items"\nmsgstr[0] "Ein Ding"\nmsgstr[1] "%d Dinge"\n\n'
        '#, fuzzy\nmsgid "Unsure"\nmsgstr "Unsicher"\n\nmsgid "Open"\nmsgstr ""\n\n#~ msgid "Old"\n#~ msgstr "Alt"\n',
    )
    options, skipped = counting()
    records, bad = read_all(path, options)
    assert bad == []
    assert [(r.values["source"], r.values["target"]) for r in records] == [
        ('Say "hello" to all', "Sag hallo"),
        ("One item", "Ein Ding"),
        ("%d items", "%d Dinge"),
    ]
    assert records[0].line == 4
    assert {r.values["lang"] for r in records} == {"de"}
    assert skipped == {"identifier": 1, "fuzzy": 1, "untranslated": 1, "obsolete": 1}


def test_gettext_folders_are_walked_and_other_languages_are_not_even_parsed(tmp_path: Path) -> None:
    message = 'msgid "Cat"\nmsgstr "{}"\n'
    po(tmp_path / "de/LC_MESSAGES/a.po", message.format("Katze"), header=HEADER[:-1] + '\n"Language: xx\\n"\n')
    po(tmp_path / "fr.po", message.format("Chat"))
    po(tmp_path / "whatever.po", message.format("Kissa"), header=HEADER + '"Language: fi\\n"\n')
    po(tmp_path / "en_GB.po", message.format("Cat"))
    po(tmp_path / "en.po", message.format("Cat"))
    po(tmp_path / "it/LC_MESSAGES/broken.po", "this is not gettext\n")
    polib.pofile(str(tmp_path / "fr.po")).save_as_mofile(str(tmp_path / "fr.mo"))
    found, bad = read_all(tmp_path)
    assert [(r.values["lang"], r.values["target"]) for r in found] == [("de", "Katze"), ("fr", "Chat"), ("fi", "Kissa")]
    assert [(Path(b.path).name, b.line) for b in bad] == [("broken.po", 4)]
    found, bad = read_all(tmp_path, ReadOptions(languages=("FR", "en-gb")))
    assert ([r.values["lang"] for r in found], bad) == (["en-gb", "FR"], [])
    with pytest.raises(DataError, match=r"no catalogue .* asked for: hi; found: de, en, en_GB, fi, fr, it"):
        read_all(tmp_path, ReadOptions(languages=("hi",)))


def test_gettext_tells_bad_utf8_and_an_unknown_language(tmp_path: Path) -> None:
    path = po(tmp_path / "de.po", 'msgid "a"\nmsgstr "b"\n')
    path.write_bytes(path.read_bytes() + b'\nmsgid "c"\nmsgstr "\xff"\n')
    assert [(b.line, "not UTF-8" in b.problem) for b in read_all(path)[1]] == [(8, True)]
    folder = tmp_path / "catalogues"
    path = po(folder / "messages.po", 'msgid "a"\nmsgstr "b"\n')
    assert ["does not tell its language" in b.problem for b in read_all(path)[1]] == [True]
    path = path.rename(folder / "fil.po")
    assert ["does not tell its language" in b.problem for b in read_all(path)[1]] == [True]
    assert [r.values["lang"] for r in read_all(path, ReadOptions(languages=("fil", "de")))[0]] == ["fil"]
    (tmp_path / "fr.mo").write_bytes(b"not a catalogue")
    assert ["not a gettext catalogue" in b.problem for b in read_all(tmp_path / "fr.mo")[1]] == [True]


def test_gettext_comments_without_a_space_are_comments(tmp_path: Path) -> None:
    records, bad = read_all(po(tmp_path / "de.po", '#.Default: "A cat"\nmsgid "cat"\nmsgstr "Katze"\n'))
    assert ([r.values["source"] for r in records], bad) == (["A cat"], [])


# --- hub ---


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what datasets prepares inside tmp_path, and the network out."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    folder = tmp_path / "hub"
    folder.mkdir()
    return folder


def test_hub_reads_translation_columns_of_a_local_folder(cached: Path) -> None:
    rows = [{"translation": {"en": "cat", "de": "Katze", "fr": "chat"}}, {"translation": {"de": "Hund", "fr": "chien"}}]
    (cached / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options, skipped = counting(languages=("DE",))
    records = list(read_hub(str(cached), options))
    assert [r.values for r in records if isinstance(r, Record)] == [{"source": "cat", "target": "Katze", "lang": "DE"}]
    assert skipped == {"language": 1, "no_source": 1}


def test_hub_reads_columns_and_takes_the_language_from_the_subset(cached: Path) -> None:
    (cached / "README.md").write_text("---\nconfigs:\n- config_name: en-de\n  data_files: a.csv\n---\n")
    (cached / "a.csv").write_text("english,other\ncat,Katze\n")
    records = list(read_hub(str(cached), ReadOptions(), subset="en-de"))
    assert records == [Record({"english": "cat", "other": "Katze", "lang": "de"}, f"{cached}/en-de", 1)]


def test_hub_problems_are_configuration_errors(cached: Path) -> None:
    (cached / "train.csv").write_text("source,target\ncat,Katze\n")
    with pytest.raises(ConfigError, match=r"\(split nosuch\): cannot be loaded: .*nosuch"):
        list(read_hub(str(cached), ReadOptions(), split="nosuch"))
    with pytest.raises(ConfigError, match=r"data\.subsets=\[xx\].*default"):
        list(read_hub(str(cached), ReadOptions(), subset="xx"))
    with pytest.raises(ConfigError, match=r"data\.name=.*no-such-folder"):
        list(read_hub(str(cached / "no-such-folder"), ReadOptions()))
    with pytest.raises(ConfigError, match=r"data\.name=someone/nothing.*the hub cannot be reached"):
        list(read_hub("someone/nothing", ReadOptions()))


def test_a_hub_name_stands_where_a_file_could(cached: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Sequence, Value

    features = Features(
        {
            "text": Value("string"),
            "label": ClassLabel(names=["bad", "good"]),
            "tags": Sequence(ClassLabel(names=["O", "B-PER"])),
        }
    )
    rows = {"text": ["gut", "schlecht", "?"], "label": [1, 0, -1], "tags": [[0, 1], [0, 0], [1]]}
    Dataset.from_dict(rows, features=features).to_parquet(cached / "de-test.parquet")
    (cached / "README.md").write_text(
        "---\nconfigs:\n- config_name: de\n  data_files:\n  - split: test\n    path: de-test.parquet\n---\n"
    )
    found = list(open_source(f"hub:{cached}:de:test", ReadOptions()).records())
    assert [record.values for record in found if isinstance(record, Record)] == [
        {"text": "gut", "label": "good", "tags": ["O", "B-PER"], "lang": "de"},
        {"text": "schlecht", "label": "bad", "tags": ["O", "O"], "lang": "de"},
        {"text": "?", "label": None, "tags": ["B-PER"], "lang": "de"},
    ]


@pytest.mark.parametrize(
    ("name", "problem"), [("hub:", "not of the form hub:NAME"), ("hub:a/b:de:c", "^hub:a/b:de:c: ")]
)
def test_a_hub_name_that_is_wrong_is_named(cached: Path, name: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        list(open_source(name, ReadOptions()).records())
