"""The output of a verb: whole, or not there, whatever ends the verb."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from mlembed.errors import Interrupted, ResourceError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def staged(output: Path, *, option: str = "--output") -> Iterator[Path]:
    """Give a place beside the output to write to, which becomes the output when the context ends well.

    Args:
        output: a file, or a folder that is not there or empty; the place is not made here.
        option: what named it, for messages.

    Raises:
        ResourceError: it cannot be written; nothing is left of it, and what was there before stays.
    """
    staging = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        yield staging
        staging.replace(output)
    except OSError as error:
        raise ResourceError(f"{option} {output} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            if staging.is_dir():
                shutil.rmtree(staging)
            else:
                staging.unlink()


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Let a signal end the verb where it is, also while it waits for standard input: there is nothing to go on from."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number, f"ended by {signal.Signals(number).name}; nothing was written")

    # Python allows handlers in the main thread alone; elsewhere signals keep their usual effect.
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, end) for number in SIGNALS} if is_main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
