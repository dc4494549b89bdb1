"""Sentence templates become sentences, and files of intents become rows."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from labels import found
from reading import counting, read_all

from mlembed.data.examples import LabelSet
from mlembed.data.readers import ReadOptions
from mlembed.data.readers.intents import MOST_PER_TEMPLATE
from mlembed.data.readers.templates import BadTemplate, Rules, chosen_sentences, parse_template
from mlembed.errors import DataError

ABOUT: dict[str, Any] = {"shape": "text", "answers": "label"}


def said(template: str, *, most: int = 100, **rules: str) -> list[str]:
    return chosen_sentences(parse_template(template, Rules(rules)), most=most, key=template)


@pytest.mark.parametrize(
    "template, sentences",
    [
        ("never mind", ["never mind"]),
        (
            "turn (on|off) [the] lights",
            ["turn on the lights", "turn off the lights", "turn on lights", "turn off lights"],
        ),
        ("light[s]", ["lights", "light"]),
        ("[a|b] c", ["a c", "b c", "c"]),
        ("(now;[please] stop)", ["now please stop", "please stop now", "now stop", "stop now"]),
        ("a|b", ["a", "b"]),
        ("<greet> you", ["hello you", "hi you"]),
        ("<greet:slot> you", ["hello you", "hi you"]),
        ("set to {number:level}[%]", []),
        ("play [{song}] now", ["play now"]),
        ("(play {song}|stop)", ["stop"]),
        ("[a]", ["a"]),
        (r"a \(b\)", ["a (b)"]),
        ("", []),
    ],
)
def test_a_template_stands_for_sentences(template: str, sentences: list[str]) -> None:
    assert sorted(said(template, greet="(hello|hi)")) == sorted(sentences)


def test_many_sentences_are_drawn_and_always_the_same() -> None:
    template = "(a|b|c|d) (a|b|c|d) (a|b|c|d)"
    few = said(template, most=5)
    assert len(few) == 5 and few == said(template, most=5)
    assert set(few) < set(said(template)) and len(said(template)) == 64
    other = chosen_sentences(parse_template(template, Rules({})), most=5, key="other")
    assert other != few


@pytest.mark.parametrize(
    "template, problem",
    [
        ("(a", r"the bracket \( is not closed in '\(a'"),
        ("(a]", r"the bracket \( is not closed"),
        ("a)", "a bracket is closed that was not opened"),
        ("{a", "a bracket is not closed in '{a'"),
        ("<a", "a bracket is not closed in '<a'"),
        ("(a|b;c)", r"\| and ; stand beside each other"),
        ("<none>", "the rule <none> is not in the file"),
        ("<one>", r"the rule <one> refers to itself \(one > two > one\)"),
        ("<bomb9>", "it stands for too many or too long sentences"),
        ("(a;b;c;d;e;f;g)", "more than 6 parts in any order"),
        ("(" * 5000 + ")" * 5000, "brackets or rules are nested too deeply"),
    ],
)
def test_a_bad_template_is_told(template: str, problem: str) -> None:
    bomb = {f"bomb{n}": f"<bomb{n - 1}>" * 8 for n in range(1, 10)}
    with pytest.raises(BadTemplate, match=problem):
        said(template, one="<two>", two="[<one>]", bomb0="ab", **bomb)


def intents(folder: Path, language: str, *, rules: dict[str, str] | None = None, **templates: list[str]) -> Path:
    path = folder / f"{language}.json"
    about = {name: {"data": [{"sentences": sentences}]} for name, sentences in templates.items()}
    path.write_text(json.dumps({"language": language, "intents": about, "expansion_rules": rules or {}}))
    return path


def test_a_folder_of_intents_is_read(tmp_path: Path) -> None:
    intents(tmp_path, "en", rules={"on": "(on|up)"}, On=["light <on>", "set {x}"], Off=["light off"])
    intents(tmp_path, "de", On=["Licht an"])
    (tmp_path / "fr.json").write_text('{"language": this file is not looked at')
    options, skipped = counting(languages=("en", "DE"))
    records, bad = read_all(tmp_path, options)
    assert not bad and skipped == {"slots": 1}
    assert [(one.values, Path(one.path).name, one.line) for one in records] == [
        ({"text": "Licht an", "label": "On", "lang": "DE"}, "de.json", 1),
        ({"text": "light on", "label": "On", "lang": "en"}, "en.json", 1),
        ({"text": "light up", "label": "On", "lang": "en"}, "en.json", 1),
        ({"text": "light off", "label": "Off", "lang": "en"}, "en.json", 3),
    ]


def test_one_template_does_not_give_thousands_of_rows(tmp_path: Path) -> None:
    path = intents(tmp_path, "en", On=["(a|b|c|d|e|f|g) " * 5])
    first = read_all(path)[0]
    assert len(first) == MOST_PER_TEMPLATE == len({str(one.values["text"]) for one in first})
    assert first == read_all(path)[0]


def test_intents_become_examples(tmp_path: Path) -> None:
    intents(tmp_path, "en", On=["light on"], Off=["light off"])
    intents(tmp_path, "de", On=["Licht an"], Other=["etwas"])
    intents(tmp_path, "sv", On=["ljus"])
    examples, counts = found(str(tmp_path), **ABOUT, options=ReadOptions(languages=("de",)))
    assert counts.kept_by_language == {"de": 2, "en": 2}
    labels = LabelSet.of([one for one in examples if one.language == "en"], shape="text")
    kept, unseen = labels.known(examples)
    assert (len(kept), unseen) == (3, {"de": 1})


def test_a_template_that_cannot_be_read_is_a_bad_row(tmp_path: Path) -> None:
    path = intents(tmp_path, "en", On=["light (on", "light on"])
    records, bad = read_all(path)
    assert len(records) == 1
    assert (bad[0].line, bad[0].problem) == (
        1,
        "the template 'light (on' of On cannot be read: the bracket ( is not closed in 'light (on'",
    )


def test_other_json_is_of_no_known_format(tmp_path: Path) -> None:
    path = tmp_path / "en.json"
    path.write_text('[{"text": "a"}]')
    with pytest.raises(DataError, match="unknown format; known are TSV"):
        read_all(path)


@pytest.mark.parametrize(
    "content, problem",
    [
        ('{"language": "en", "intents": ', ":1: not JSON: .*; install the package again"),
        ('{"language": "en", "intents": []}', ":1: not a file of intents as they are known here.*constraints.txt"),
    ],
)
def test_a_file_of_another_shape_is_refused(content: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "en.json"
    path.write_text(content)
    with pytest.raises(DataError, match=problem):
        read_all(path)


def test_a_folder_without_the_language_says_what_there_is(tmp_path: Path) -> None:
    intents(tmp_path, "en", On=["light on"])
    with pytest.raises(DataError, match="no file of intents in a wanted language; asked for: ja; found: en"):
        read_all(tmp_path, ReadOptions(languages=("ja",)))


@pytest.mark.skipif(importlib.util.find_spec("home_assistant_intents") is None, reason="comes with the extra demo")
def test_the_package_has_what_the_default_reads() -> None:
    languages = ("ar", "de", "es", "fr", "it", "nl", "pl", "pt", "ru", "zh-CN")
    examples, counts = found("package:home_assistant_intents/data", **ABOUT, options=ReadOptions(languages=languages))
    assert counts.bad == 0
    assert min(counts.kept_by_language.values()) > 200 and counts.kept_by_language["en"] > 500
    labels = LabelSet.of([one for one in examples if one.language == "en"], shape="text")
    assert len(labels.names) > 15
    assert len(labels.known(examples)[0]) > 0.95 * len(examples)
