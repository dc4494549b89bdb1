"""Where the messages of a run go: the terminal, and log.txt."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from mlembed.errors import Interrupted, MlembedError, Pruned
from mlembed.run.directory import redact

# What the log of a run ends with that an error ended; a signal, or a study that prunes a trial, is none.
FAILED = "the run failed: "


@contextlib.contextmanager
def logging_to(path: Path | None, *, quiet: bool) -> Iterator[None]:
    """Send the messages of mlembed to the terminal and to a file; an error that ends the run goes to the file alone.

    Args:
        path: log.txt; None: no file.
        quiet: not to the terminal (processes other than the first).
    """
    logger = logging.getLogger("mlembed")
    # With no handler at all, Python itself would print warnings.
    handlers: list[logging.Handler] = [logging.NullHandler() if quiet else _TerminalHandler()]
    if path is not None:
        file = _LogFile(path, encoding="utf-8")
        formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
        # UTC, as in the names of runs and in their reports.
        formatter.converter = time.gmtime
        file.setFormatter(formatter)
        handlers.append(file)
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    except Exception as error:
        if path is not None and not isinstance(error, Interrupted | Pruned):
            # The terminal is told by whoever catches it.
            logger.handlers = handlers[-1:]
            unexpected = None if isinstance(error, MlembedError) else error
            logger.error("%s%s", FAILED, redact(str(error)), exc_info=unexpected)
        raise
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(level)
        logger.propagate = propagate


class _LogFile(logging.FileHandler):
    """A log that gives up lines when the disk is full, instead of filling the terminal with tracebacks."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


class _TerminalHandler(logging.StreamHandler[TextIO]):
    """Plain messages; warnings say that they are."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        return text if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {text}"
