"""Two processes that train together, as torchrun starts them, forked from a server that has torch loaded."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

from crashes import MAX_SECONDS, start


class Ranks:
    """The processes of one start; a context manager, which none of them outlives.

    Nobody ends one of them when the other has failed, as torchrun would: they have to end by themselves.

    Args:
        arguments: of `mlembed`.
        output: gets what both print; appended to.
        faults: MLEMBED_FAULT of each.
    """

    def __init__(self, arguments: Sequence[str], *, output: Path, faults: Sequence[str | None] = (None, None)) -> None:
        output.touch()
        self._output, self._from = output, output.stat().st_size
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(len(faults))}
        self.processes: list[BaseProcess] = [
            start(
                arguments,
                output=output,
                fault=fault,
                environment=together | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank, fault in enumerate(faults)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """SIGKILL to all that are still there."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()

    def send(self, number: signal.Signals, *, rank: int) -> None:
        """Send a signal to one of them."""
        pid = self.processes[rank].pid
        assert pid is not None
        os.kill(pid, number)

    def codes(self) -> list[int | None]:
        """The exit codes, when all have ended; minus the signal's number where one ended it."""
        end = time.monotonic() + MAX_SECONDS
        for process in self.processes:
            process.join(max(end - time.monotonic(), 0.0))
        codes = [process.exitcode for process in self.processes]
        assert None not in codes, f"still there: {codes}; they said: {self.said()}"
        return codes

    def said(self) -> str:
        """What they printed."""
        return self._output.read_bytes()[self._from :].decode(errors="replace")


def run_both(arguments: Sequence[str], *, output: Path, faults: Sequence[str | None] = (None, None)) -> str:
    """Run to the end, which is a good one; what was printed."""
    with Ranks(arguments, output=output, faults=faults) as ranks:
        assert ranks.codes() == [0] * len(faults), ranks.said()
        return ranks.said()
