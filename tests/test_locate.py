"""Files inside installed packages are found without importing them, and what is missing is explained."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlembed.errors import ConfigError
from mlembed.locate import is_package_name, locate, locate_package


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders on the path: a package that must not be imported, and a namespace package that lies in both."""
    for part, inside in (("one", "toyspace/first/data"), ("two", "toyspace/second/texts"), ("one", "toyloud/model")):
        (tmp_path / part / inside).mkdir(parents=True)
        monkeypatch.syspath_prepend(str(tmp_path / part))
    (tmp_path / "one/toyloud/__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "one/toyloud/model/config.json").write_text("{}")
    (tmp_path / "two/toyspace/second/texts/de.po").write_text("")
    (tmp_path / "one/toysingle.py").write_text("raise RuntimeError('imported')")
    return tmp_path


def test_a_file_of_a_package_is_found_and_nothing_is_imported(packages: Path) -> None:
    assert locate_package("package:toyloud/model/config.json") == packages / "one/toyloud/model/config.json"
    assert locate_package("package:toyloud") == packages / "one/toyloud"
    assert "toyloud" not in sys.modules


@pytest.mark.parametrize(
    "name", ["package:toyspace.second/texts", "package:toyspace/second/texts", "package:toyspace.second.texts/"]
)
def test_dots_and_slashes_name_the_same_folder_in_the_second_part_of_a_namespace(packages: Path, name: str) -> None:
    assert locate_package(name) == packages / "two/toyspace/second/texts"


def test_a_dot_in_the_path_is_a_dot(packages: Path) -> None:
    assert locate("package:toyspace.second/texts/de.po") == packages / "two/toyspace/second/texts/de.po"


def test_a_missing_package_is_named_with_its_install_command(packages: Path) -> None:
    with pytest.raises(ConfigError, match=r"no package 'no_such_toy' is installed.*pip install no-such-toy\.locales"):
        locate_package("package:no_such_toy.locales/de")
    with pytest.raises(ConfigError, match=r"Did you mean package:pytest/x \?"):
        locate_package("package:pytset/x")


def test_a_missing_path_is_named_with_the_nearest_one(packages: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no 'text'\. Did you mean package:toyspace/second/texts \?"):
        locate_package("package:toyspace.second/text/de.po")
    with pytest.raises(ConfigError, match=r"has no 'secnd'\. Did you mean package:toyspace/second \?"):
        locate_package("package:toyspace.secnd/texts")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("package:toyloud/../toysingle.py", r"'\.\.' is not allowed"),
        ("package:toyloud/model/..", r"'\.\.' is not allowed"),
        ("package:..toyloud/model", "not of the form"),
        ("package:toyloud//etc", "not of the form"),
        ("package:/etc/passwd", "not of the form"),
        ("package:", "not of the form"),
        ("package:toyloud/a\\b", "not of the form"),
        ("package:toysingle/x", "single module"),
    ],
)
def test_a_malformed_name_is_refused(packages: Path, name: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        locate_package(name)


def test_other_names_are_paths(tmp_path: Path) -> None:
    assert not is_package_name("packages/x.tsv")
    assert locate("a b/c=d.tsv") == Path("a b/c=d.tsv")
    assert locate("c.tsv", folder=tmp_path) == tmp_path / "c.tsv"
    assert locate("/c.tsv", folder=tmp_path) == Path("/c.tsv")
    assert locate("~/c.tsv", folder=tmp_path) == Path.home() / "c.tsv"
