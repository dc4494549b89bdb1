"""Folders of files that are there whole or not at all, and are looked over before they are used again."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlembed.cache.cache_folder import MARK, MAX_ABOUT_BYTES
from mlembed.files import sync_folder, write_atomically
from mlembed.strict_json import read

log = logging.getLogger("mlembed")

ABOUT = "about.json"
# Of each file its size is compared, and a hash of so many bytes at both of its ends: of small ones, of all.
EDGE_BYTES = 2**16
STAGING, LOCK = ".staging-", "lock"


def describe(path: Path) -> list[Any]:
    """Size of a file and a hash of its two ends, as JSON values."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(EDGE_BYTES))
        file.seek(max(0, size - EDGE_BYTES))
        digest.update(file.read(EDGE_BYTES))
    return [size, digest.hexdigest()]


def write_about(about_path: Path, files: list[Path], known: Mapping[str, Any], *, what: str = "") -> None:
    """Describe files beside them, after they have reached the disk; `what` is for people, in `mlembed cache ls`."""
    for path in files:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    about = {**known, "files": {path.name: describe(path) for path in files}}
    text = json.dumps(about, ensure_ascii=False)
    shown = {"mark": MARK, "what": what, "texts": known.get("texts")}
    content = {**shown, "about": about, "hash": hashlib.sha256(text.encode()).hexdigest()}
    write_atomically(about_path, json.dumps(content) + "\n")


def read_about(about_path: Path) -> dict[str, Any] | None:
    """What `write_about` was told; None where it is not there, or a file is not what it was."""
    try:
        stored = read(about_path, most_bytes=MAX_ABOUT_BYTES)
        about = stored["about"]
        text = json.dumps(about, ensure_ascii=False)
        if stored["hash"] != hashlib.sha256(text.encode()).hexdigest():
            return None
        if any(Path(name).name != name for name in about["files"]):
            return None
        same = all(describe(about_path.parent / name) == found for name, found in about["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return about if same else None


@contextlib.contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """A folder to work in, which is gone after the context; those of processes that were killed are cleared away.

    Raises:
        OSError: it cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for other in parent.glob(f"{STAGING}*"):
        with contextlib.suppress(OSError), (other / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(other, ignore_errors=True)
    name = f"{os.getpid()}-{secrets.token_hex(4)}"
    path = parent / f".new-{name}"
    path.mkdir()
    try:
        with (path / LOCK).open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Only now by a name that others look for: what they see is always locked while it is in use.
            path = path.rename(parent / f"{STAGING}{name}")
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def publish(built: Path, target: Path) -> None:
    """Move a folder to its place; one that is there whole stays, a damaged one is replaced.

    Args:
        built: the folder, with its about.json.
        target: its place, on the same disk.
    """
    if read_about(target / ABOUT) is not None:
        return
    if target.exists():
        log.warning("%s is damaged, and made anew", target)
        shutil.rmtree(target)
    with contextlib.suppress(OSError):
        built.rename(target)
        sync_folder(target.parent)
        return
    if read_about(target / ABOUT) is None:
        built.rename(target)
