"""The versions that are tried lie within the ranges that are promised: the lowest ones, and those of `make test`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
# Of older versions of torch there are no builds for CPUs alone on PyPI.
NOT_AT_THE_LOWEST = {"torch"}


def requirements() -> dict[str, Requirement]:
    """All that the tests need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    (own,) = [text for text in extras["dev"] if text.startswith("mlembed[")]
    names = re.findall(r"[a-z]+", own.removeprefix("mlembed"))
    texts = [
        *project["dependencies"],
        *extras["demo"],
        *extras["dev"],
        *(text for name in names for text in extras[name]),
    ]
    found = {canonicalize_name(one.name): one for one in map(Requirement, texts) if one.name != "mlembed"}
    assert len(found) > 25
    return found


def pinned(name: str) -> dict[str, Version]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    parts = [line.partition("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(package): Version(version) for package, _, version in parts}


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-lowest.txt"])
def test_what_is_tried_is_within_the_ranges(name: str) -> None:
    versions = pinned(name)
    outside = [
        str(one) for key, one in requirements().items() if key in versions and versions[key] not in one.specifier
    ]
    assert outside == []


def test_every_lower_bound_is_tried() -> None:
    """A version 3.4.1 is the lowest of >=3.4 where there is no 3.4.0."""
    versions, apart = pinned("constraints-lowest.txt"), []
    for name, requirement in requirements().items():
        (bound,) = [Version(one.version) for one in requirement.specifier if one.operator in (">=", "==")]
        if versions[name].release[: len(bound.release)] != bound.release and name not in NOT_AT_THE_LOWEST:
            apart.append(f"{requirement} is tried with {versions[name]}")
    assert apart == []
