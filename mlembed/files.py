"""Writing files so that a kill leaves the old one or the new one, and reading what strangers may have left."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_disk_full(error: OSError) -> bool:
    """Whether an error says that there is no room; those of shutil say it in their text alone."""
    return error.errno in DISK_FULL or any(f"[Errno {number}]" in str(error) for number in DISK_FULL)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn the errors of libraries that write files in Rust (safetensors, tokenizers) into OSError.

    They have classes of their own, or none; their text has the number, as in `No space left (os error 28)`, or in older
    versions `Os { code: 28, ... }`.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        found = re.search(r"(?:\(os error |\bcode: )(\d+)", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), str(error)) from error


def write_atomically(path: Path, text: str) -> None:
    """Write a text file beside its place, and rename it there."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with staging.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_plain_file(path: Path) -> int:
    """Open a file of a folder that anybody may have filled: no link is followed, nothing waits.

    Returns:
        A descriptor for reading, which the caller closes.

    Raises:
        OSError: it cannot be opened, or is a link, a pipe, a device or a folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a plain file")
    return descriptor
