"""The errors that reach a user: each has an exit code, and says what is wrong, where, and what to do."""

from __future__ import annotations

import errno
from typing import TypeVar

DONE = 0
RUN_FAILED = 1
USAGE = 2
DATA = 3
RESOURCES = 4


class MlembedError(Exception):
    """An error that is explained by its message alone; it is printed without a traceback."""

    exit_code = RUN_FAILED
    # Whether all processes of a group raise it at the same place, so that it is enough when the first one says it.
    is_agreed = False


Error = TypeVar("Error", bound=MlembedError)


def agreed(error: Error) -> Error:
    """Mark an error that all processes of a group raise alike, as it depends on what they share alone."""
    error.is_agreed = True
    return error


def path_problem(error: OSError) -> str | None:
    """What is wrong with a path that the system does not even look at, in words; None: it is another error."""
    if error.filename is None or error.errno not in (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES):
        return None
    name = ascii(str(error.filename))[1:-1] if not str(error.filename).isprintable() else str(error.filename)
    return f"{name if len(name) <= 200 else f'{name[:200]}...'}: {error.strerror}"


class ConfigError(MlembedError, ValueError):
    """The command line or the configuration is wrong."""

    exit_code = USAGE


class DataError(MlembedError, ValueError):
    """A file holds something that cannot be used; the message begins with `file:line`."""

    exit_code = DATA


class ResourceError(MlembedError):
    """Memory, disk or a device is missing or used up."""

    exit_code = RESOURCES


class OutOfMemory(ResourceError):
    """A batch does not fit into the memory of the device."""


class GroupEnded(MlembedError):
    """Another process of the group has ended, and says why; this one cannot go on without it."""


class TrainingFailed(MlembedError):
    """The run cannot go on: the loss is not finite, or saving failed again and again."""


class Pruned(MlembedError):
    """A trial of a study was ended at an evaluation, since others do better."""


class Interrupted(MlembedError):
    """A signal asked the run to end; it was ended at the next step, after a checkpoint.

    Args:
        signal_number: the signal that was received; the exit code is 128 plus this number.
    """

    is_agreed = True

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
