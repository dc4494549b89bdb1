"""Checkpoints: complete and verified, or not there; the newest that verifies is found, never pointed to."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mlembed.faults import fault_point
from mlembed.files import sync_folder
from mlembed.strict_json import read

log = logging.getLogger("mlembed")

MANIFEST = "manifest.json"
MAX_JSON_BYTES = 64 << 20


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        folder: where they lie, as `step-<n>`.
        keep: how many of the newest stay; the best stays besides.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def path(self, step: int) -> Path:
        """The folder of a step's checkpoint."""
        return self.folder / f"step-{step}"

    def save(self, step: int, *, write: Callable[[Path], None], best_step: int | None) -> None:
        """Write a checkpoint, verify it, and delete those that are no longer needed.

        Args:
            step: the optimizer step that it is of.
            write: writes its files into a folder.
            best_step: the step of the best checkpoint, which is not deleted.

        Raises:
            OSError: when it cannot be written; nothing is left of it, and the older ones stay.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._recover()
        for leftover in self.folder.glob(".staging-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        staging, final = self.folder / f".staging-step-{step}", self.path(step)
        try:
            fault_point("save.start")
            staging.mkdir()
            write(staging)
            fault_point("save.before_manifest")
            _seal(staging)
            fault_point("save.before_rename")
            if final.exists():
                # The same step once more, with a later evaluation: the old one waits until the new one is in place.
                final.rename(self._replaced(step))
                fault_point("save.between_renames")
            staging.rename(final)
            fault_point("save.after_rename")
            sync_folder(self.folder)
            if (problem := verify(final)) is not None:
                raise OSError(f"{final} does not verify after it was written: {problem}")
        except BaseException:
            # Of whatever class (safetensors has its own for a full disk): what was written takes room.
            shutil.rmtree(staging, ignore_errors=True)
            if final.exists() and verify(final) is not None:
                shutil.rmtree(final, ignore_errors=True)
            self._recover()
            raise
        shutil.rmtree(self._replaced(step), ignore_errors=True)
        fault_point("save.before_rotation")
        self._rotate(step, best_step=best_step)

    def steps(self) -> list[int]:
        """The steps of all checkpoints, verified or not, newest first."""
        matches = (re.fullmatch(r"step-(0|[1-9][0-9]*)", path.name) for path in self.folder.glob("step-*"))
        return sorted((int(match.group(1)) for match in matches if match), reverse=True)

    def newest(self) -> Path | None:
        """The newest checkpoint that verifies; what is skipped is logged with the reason. None when none does."""
        self._recover()
        for step in self.steps():
            problem = verify(self.path(step))
            if problem is None:
                return self.path(step)
            log.warning("skipping the checkpoint %s: %s", self.path(step), problem)
        return None

    def _replaced(self, step: int) -> Path:
        return self.folder / f".staging-replaced-step-{step}"

    def _recover(self) -> None:
        """Put a checkpoint back whose replacement was ended before it was complete."""
        for replaced in self.folder.glob(".staging-replaced-step-*"):
            final = self.path(int(replaced.name.rpartition("-")[2]))
            if verify(final) is not None:
                shutil.rmtree(final, ignore_errors=True)
                replaced.rename(final)

    def _rotate(self, step: int, *, best_step: int | None) -> None:
        # Later ones are damaged: the run went on from an earlier one. They must not take the place of good ones.
        later = [other for other in self.steps() if other > step]
        for other in [*later, *self.steps()[len(later) + self.keep :]]:
            if other == best_step:
                continue
            # Renamed first: half a deletion must not look like a checkpoint. What cannot be renamed only takes room.
            doomed = self.folder / f".staging-deleted-{other}"
            with contextlib.suppress(OSError):
                self.path(other).rename(doomed)
            fault_point("save.mid_rotation")
            shutil.rmtree(doomed, ignore_errors=True)


def verify(folder: Path) -> str | None:
    """Check a checkpoint against its manifest: names, sizes, hashes, no links.

    Returns:
        What is wrong, or None.
    """
    try:
        present = _files(folder)
    except (OSError, ValueError) as error:
        return str(error)
    try:
        manifest = read_json(folder / MANIFEST)
        listed = {str(name): (int(item["bytes"]), str(item["sha256"])) for name, item in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        return f"{MANIFEST} cannot be read ({error})"
    if missing := sorted(listed.keys() - present.keys()):
        return f"{missing[0]} is missing"
    if foreign := sorted(present.keys() - listed.keys()):
        return f"{foreign[0]} is not in the manifest"
    for name, (size, _) in listed.items():
        if present[name].stat().st_size != size:
            return f"{name} has {present[name].stat().st_size} bytes instead of {size}"
    digests = _sha256(present.values())
    differing = (name for name, (_, digest) in listed.items() if digests[present[name]] != digest)
    return next((f"{name} has other contents than were written" for name in differing), None)


def read_json(path: Path) -> Any:
    """Read a JSON file of a sane size.

    Raises:
        ValueError: when it is too large or not JSON.
        OSError: when it cannot be read.
    """
    return read(path, most_bytes=MAX_JSON_BYTES)


def _files(folder: Path) -> dict[str, Path]:
    """The files of a checkpoint without its manifest; nothing but plain files and folders may be in it."""
    files = {}
    if folder.is_symlink():
        raise ValueError("it is a symbolic link")
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise ValueError(f"{name} is a symbolic link")
        if not path.is_file() and not path.is_dir():
            raise ValueError(f"{name} is not a plain file")
        if path.is_file() and name != MANIFEST:
            files[name] = path
    return files


def _seal(folder: Path) -> None:
    """Make all files survive a power cut, then write the manifest that makes them a checkpoint."""
    files = _files(folder)
    for path in files.values():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    digests = _sha256(files.values())
    entries = {name: {"bytes": path.stat().st_size, "sha256": digests[path]} for name, path in files.items()}
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump({"files": entries}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    for path in [*(path for path in folder.rglob("*") if path.is_dir()), folder]:
        sync_folder(path)


def _sha256(paths: Iterable[Path]) -> dict[Path, str]:
    """The hashes of files, several at a time: hashing a large file leaves the interpreter to the others."""

    def digest(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    paths = list(paths)
    with ThreadPoolExecutor() as pool:
        return dict(zip(paths, pool.map(digest, paths), strict=True))
