"""Locks between processes that end with the process, however it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from pathlib import Path


class FileLock:
    """A lock on a file, which the system takes back when its holder ends; nobody has to clean up.

    Args:
        path: the file; it is made when it is not there, and stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def share(self) -> None:
        """Hold it together with others that share it; waits while one process has it for itself.

        Raises:
            OSError: there is no such file and none can be made, or this disk has no locks.
        """
        while not self._take(fcntl.LOCK_SH):
            pass

    def try_alone(self) -> bool:
        """Hold it for this process alone, if nobody else holds it; does not wait.

        Raises:
            OSError: as for `share`.
        """
        if not self._take(fcntl.LOCK_EX | fcntl.LOCK_NB):
            return False
        assert self._descriptor is not None
        with contextlib.suppress(OSError):
            holder = f"process {os.getpid()} on {socket.gethostname()}".encode()
            # In this order: who looks meanwhile never finds an empty file.
            os.pwrite(self._descriptor, holder, 0)
            os.ftruncate(self._descriptor, len(holder))
        return True

    def holder(self) -> str:
        """The process that had it for itself last, in words."""
        with contextlib.suppress(OSError):
            return self.path.read_bytes()[:200].decode(errors="replace").strip() or "another process"
        return "another process"

    def release(self) -> None:
        """Give it back; nothing happens when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.release()

    def _take(self, how: int) -> bool:
        self.release()
        descriptor = _open(self.path)
        try:
            fcntl.flock(descriptor, how)
            if not _is_at(descriptor, self.path):
                # Whoever had it has deleted the folder meanwhile: the lock of a file that nobody else finds.
                return False
            self._descriptor, descriptor = descriptor, -1
        except BlockingIOError:
            return False
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        return True


def _open(path: Path) -> int:
    # A link could lead to a file that is to stay as it is.
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o644)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        # Somebody else's, who lets us read.
        return os.open(path, os.O_RDONLY | flags)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
