"""export.json: what an exported folder is, how it was checked, and which files belong to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlembed import __version__
from mlembed.errors import ConfigError

MANIFEST, CARD = "export.json", "README.md"
FORMAT = "mlembed-export/1"
# A list of files is a few kilobytes; more is not one of ours, and is not read.
MAX_BYTES = 1 << 20
# What a user may add to an export.
OWN_FILES = {"LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE"}


def write_manifest(folder: Path, about: Mapping[str, Any]) -> None:
    """Write export.json, last.

    Args:
        folder: with all its files; the card may be edited afterwards, so it is not among those that are hashed.
        about: the format, the check, and what else is worth knowing; JSON values.
    """
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _hash(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / CARD
    }
    content = {"format": FORMAT, "mlembed": __version__, **about, "files": files}
    (folder / MANIFEST).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / MANIFEST).chmod(0o644)


def exported_files(folder: Path) -> list[Path]:
    """The files of an exported folder, after a look at each.

    Raises:
        ConfigError: it is no export, a file is missing or was changed, or something lies in it that is not of it.
    """
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise ConfigError(
            f"{folder} is not an exported folder: there is no {MANIFEST} in it; make one with "
            f"mlembed export {folder} --output NEW"
        )
    listed = _read(path)
    _check_foreign(folder, {*listed, MANIFEST, CARD, *OWN_FILES})
    for name, wanted in listed.items():
        file = folder / name
        if not file.is_file():
            raise ConfigError(f"{file} is missing; export again")
        if file.stat().st_size != wanted["bytes"] or _hash(file) != wanted["sha256"]:
            raise ConfigError(f"{file} was changed after the export; export again")
    if not (folder / CARD).is_file():
        raise ConfigError(f"{folder / CARD}, the card, is missing; export again")
    own = {name for name in OWN_FILES if (folder / name).is_file()}
    return [folder / name for name in sorted({*listed, MANIFEST, CARD, *own})]


def _read(path: Path) -> dict[str, Mapping[str, Any]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("it is too large")
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f'"format": "{FORMAT}" is expected')
        files: dict[str, Mapping[str, Any]] = {
            str(name): {"bytes": int(one["bytes"]), "sha256": str(one["sha256"])}
            for name, one in content["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if outside := [name for name in files if Path(name).is_absolute() or ".." in Path(name).parts]:
        raise ConfigError(f"{path}: the path {outside[0]!r} leads out of the folder")
    return files


def _check_foreign(folder: Path, known: set[str]) -> None:
    """Refuse what the export did not write: a secret or a checkpoint must not go along."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise ConfigError(
                f"{path} is a symbolic link; an exported folder has none, and where it leads is not yours"
            )
        if path.is_file() and name not in known:
            raise ConfigError(f"{path} is not of the export, and is not uploaded; move it out of the folder")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
