"""`mlembed cache`: what is listed, what is deleted, and what is never deleted."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from teachers import teaching_of
from toys import toy_sentences, write_toy_model

from mlembed.cache.cache_folder import MARK, cache_folder, shown
from mlembed.cli import main

TEXTS = toy_sentences(20)
DAY = 86400


@pytest.fixture
def filled(toy_folder: Path, tmp_path: Path, own_cache: Path) -> list[Path]:
    """Two teachers, the first used 40 days ago; another kind; and what is not ours."""
    folders = []
    for folder, count in ((toy_folder / "teacher", 20), (write_toy_model(tmp_path / "other", seed=1), 7)):
        teaching = teaching_of(folder)
        teaching.vectors(TEXTS[:count])
        assert teaching._store is not None and teaching._store.folder is not None
        folders.append(teaching._store.folder)
        teaching.close()
    for name in ("use.lock", "about.json"):
        os.utime(folders[0] / name, (0, time.time() - 40 * DAY))
    tokens = own_cache / "tokens" / ("ab" * 8)
    tokens.mkdir(parents=True)
    (tokens / "about.json").write_text(json.dumps({"mark": MARK, "what": "tokens of [red]", "texts": 3}))
    for name in ("teachers/holiday", "teachers/" + "cd" * 8, "photos/2024"):
        (own_cache / name).mkdir(parents=True)
        (own_cache / name / "about.json").write_text('{"what": "mine"}')
    return [*folders, tokens]


def ls(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    capsys.readouterr()
    assert main(["cache", "ls", "--json"]) == 0
    return list(json.loads(capsys.readouterr().out)["entries"])


def test_ls(filled: list[Path], own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ls(capsys)
    assert {str(entry["path"]) for entry in found} == {str(path) for path in filled}
    assert {(entry["kind"], entry["what"], entry["texts"]) for entry in found} == {
        ("teachers", "toy", 20),
        ("teachers", "toy", 7),
        ("tokens", "tokens of [red]", 3),
    }
    sizes = {str(entry["path"]): entry["bytes"] for entry in found}
    assert sizes[str(filled[0])] == sum(path.stat().st_size for path in filled[0].iterdir())
    assert main(["cache", "ls"]) == 0
    said = capsys.readouterr().out
    assert "tokens of [red]" in said and "3 entries" in said and str(own_cache) in said
    assert all(path.name in said for path in filled)
    (filled[0] / "about.json").write_bytes(b"\xff")
    assert "unknown: its about.json is damaged" in {entry["what"] for entry in ls(capsys)}


def test_an_empty_cache(own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "ls"]) == main(["cache", "clear", "--yes"]) == 0
    assert "0 entries" in capsys.readouterr().out
    assert not own_cache.exists()


def test_clear_deletes_what_is_named_and_nothing_else(
    filled: list[Path], own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, second, tokens = filled
    assert main(["cache", "clear", "--dry-run"]) == 0
    assert "nothing was deleted" in capsys.readouterr().out and all(path.is_dir() for path in filled)
    assert main(["cache", "clear"]) == 2, "nobody can be asked"
    assert main(["cache", "clear", "nothing", "--yes"]) == 2
    assert "the kinds there are: teachers, tokens" in capsys.readouterr().err
    assert main(["cache", "clear", "--older-than", "30", "--yes"]) == 0
    assert [path.is_dir() for path in filled] == [False, True, True]
    assert main(["cache", "clear", second.name[:8], "--yes"]) == 0
    assert [path.is_dir() for path in filled] == [False, False, True]
    (tokens.parent / ".deleted-x").mkdir()
    assert main(["cache", "clear", "tokens", "--yes"]) == 0
    left = sorted(path.relative_to(own_cache).as_posix() for path in own_cache.glob("*/*"))
    assert left == ["photos/2024", "teachers/cdcdcdcdcdcdcdcd", "teachers/holiday"]


def test_clear_follows_no_link(filled: list[Path], own_cache: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    filled[0].rename(outside)
    filled[0].symlink_to(outside)
    (filled[1] / "use.lock").unlink()
    (filled[1] / "use.lock").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_text("precious")
    main(["cache", "clear", "--yes"])
    assert (outside / "about.json").is_file() and (tmp_path / "precious").read_text() == "precious"


def test_what_is_in_use_stays(filled: list[Path], toy_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teaching = teaching_of(toy_folder / "teacher")
    vectors = teaching.vectors(TEXTS)
    assert main(["cache", "clear", "--yes"]) == 4
    out, err = capsys.readouterr()
    assert "2 entries deleted" in out and "is in use" in err
    assert [path.is_dir() for path in filled] == [True, False, False]
    assert len(vectors[:]) == 20
    teaching.close()
    assert main(["cache", "clear", "--yes"]) == 0
    assert not filled[0].exists()
    assert len(teaching.vectors(TEXTS)[:]) == 20, "it is made again"


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLEMBED_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine" and shown(cache_folder()) == "~/mine"
    monkeypatch.setenv("MLEMBED_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/tmp/x")
    assert cache_folder() == Path("/var/tmp/x/mlembed")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "mlembed"
