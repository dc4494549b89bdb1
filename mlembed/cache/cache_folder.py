"""The user's cache folder: `<kind>/<key>/` for each thing that is kept between runs; what is there, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlembed.cache.locks import FileLock
from mlembed.errors import ResourceError
from mlembed.files import write_atomically
from mlembed.strict_json import read

VARIABLE = "MLEMBED_CACHE"
ABOUT, USE_LOCK = "about.json", "use.lock"
# Says that a folder is ours to delete; MLEMBED_CACHE may name one with other things in it.
MARK = "mlembed cache"
KEY = re.compile(r"[0-9a-f]{16,64}")
DOOMED = ".deleted-"
# A corpus names all of its files there.
MAX_ABOUT_BYTES = 1 << 24


@dataclass(frozen=True)
class CacheEntry:
    """One thing that is kept.

    Args:
        kind: the folder that it lies in, such as `teachers`.
        path: its folder.
        about: what its about.json says; empty when that is damaged.
        size: bytes of all its files.
        used: when it was last used, in seconds since 1970.
    """

    kind: str
    path: Path
    about: Mapping[str, Any]
    size: int
    used: float

    @property
    def key(self) -> str:
        """The name of its folder."""
        return self.path.name

    @property
    def what(self) -> str:
        """What it is, for people."""
        return str(self.about.get("what", f"unknown: its {ABOUT} is damaged"))


class EntryInUse:
    """An entry that this process uses: it is there, and is not deleted before `close`.

    Args:
        kind: such as `teachers`.
        key: 16 to 64 hexadecimal digits, which decide what is in it.
        about: what about.json is to say; `what` says it to people.

    Raises:
        OSError: the folder cannot be made or locked.
    """

    def __init__(self, kind: str, key: str, *, about: Mapping[str, Any]) -> None:
        assert KEY.fullmatch(key)
        self.path = cache_folder() / kind / key
        self._lock = FileLock(self.path / USE_LOCK)
        while True:
            _make_folder(self.path)
            try:
                self._lock.share()
                break
            except FileNotFoundError:
                # Deleted by somebody between the two lines.
                if self.path.exists():
                    raise
        with contextlib.suppress(OSError):  # somebody else's folder is used as it is
            os.utime(self.path / USE_LOCK)
            if not _read_about(self.path):
                text = json.dumps({"mark": MARK, **about}, indent=2, ensure_ascii=False)
                write_atomically(self.path / ABOUT, text + "\n")

    def close(self) -> None:
        """From now on others may delete it."""
        self._lock.release()


def cache_folder() -> Path:
    """Where things are kept: `MLEMBED_CACHE`, or `mlembed` in the user's cache folder; it may not be there yet.

    Raises:
        OSError: neither is known.

    Source: XDG Base Directory Specification, https://specifications.freedesktop.org/basedir-spec/latest/, for
    XDG_CACHE_HOME, which counts only where it is absolute.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():
        return base / "mlembed"
    try:
        return Path.home() / ".cache" / "mlembed"
    except RuntimeError as error:
        raise OSError(f"this user has no home folder; set {VARIABLE}") from error


def shown(path: Path) -> str:
    """A path for people, with `~` for their home."""
    with contextlib.suppress(RuntimeError, ValueError):
        return f"~/{path.relative_to(Path.home())}"
    return str(path)


def entries(root: Path) -> Iterator[CacheEntry]:
    """All that is kept in a cache folder, by kind and key; other folders and files in it are passed over."""
    for path in sorted(root.glob("*/*")):
        if KEY.fullmatch(path.name) and path.is_dir() and not path.is_symlink() and not path.parent.is_symlink():
            about = _read_about(path)
            if about or (path / USE_LOCK).is_file():
                yield CacheEntry(path.parent.name, path, about, *_size_and_use(path))


def delete(entry: CacheEntry) -> None:
    """Delete an entry that nobody uses.

    Raises:
        ResourceError: it is in use, or cannot be deleted.
    """
    lock = FileLock(entry.path / USE_LOCK)
    try:
        if not lock.try_alone():
            raise ResourceError(f"{shown(entry.path)} is in use; wait until the run that uses it has ended")
        # Renamed first: half a deletion must not look like an entry.
        doomed = entry.path.with_name(f"{DOOMED}{entry.key}-{os.getpid()}-{time.time_ns()}")
        entry.path.rename(doomed)
        shutil.rmtree(doomed)
    except FileNotFoundError:
        return  # somebody else was faster
    except OSError as error:
        raise ResourceError(f"{shown(entry.path)} cannot be deleted: {error.strerror or error}") from error
    finally:
        lock.release()


def delete_leftovers(root: Path) -> None:
    """Delete what is left of deletions that were ended in the middle."""
    for path in root.glob(f"*/{DOOMED}*"):
        if not path.is_symlink() and not path.parent.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def _make_folder(path: Path) -> None:
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        # What a user reads is the user's own affair.
        folder.mkdir(mode=0o700, exist_ok=True)


def _read_about(path: Path) -> dict[str, Any]:
    """What about.json says; empty when there is none, or it is not ours."""
    try:
        about = read(path / ABOUT, most_bytes=MAX_ABOUT_BYTES)
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) and about.get("mark") == MARK else {}


def _size_and_use(path: Path) -> tuple[int, float]:
    size, used = 0, 0.0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                size += Path(folder, name).lstat().st_size
    for name in (USE_LOCK, ABOUT):
        with contextlib.suppress(OSError):
            used = max(used, (path / name).lstat().st_mtime)
    return size, used
