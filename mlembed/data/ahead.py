"""Makes the next items of an iterator in a thread, while the present one is used."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """An iterator over the items of another one, which is some items ahead; used as a context, which ends its thread.

    An error of the other iterator is raised where its item would have come.

    Args:
        items: what makes the items; from now on only its thread touches it.
        depth: how many items are made ahead of the one that is used.

    Attributes:
        waited: seconds for which the last item kept its user waiting.
    """

    def __init__(self, items: Iterator[T], *, depth: int = 2) -> None:
        self._queue: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
        self.waited = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(items,), daemon=True, name="mlembed-ahead")

    def __enter__(self) -> Ahead[T]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        while self._thread.is_alive():
            # It may wait for a place in the queue.
            while not self._queue.empty():
                self._queue.get_nowait()
            self._thread.join(0.01)

    def __iter__(self) -> Ahead[T]:
        return self

    def __next__(self) -> T:
        asked = time.perf_counter()
        item, error = self._queue.get()
        self.waited = time.perf_counter() - asked
        if error is not None:
            raise error
        assert item is not None
        return item

    def _run(self, items: Iterator[T]) -> None:
        try:
            for item in items:
                if self._ended.is_set():
                    return
                self._queue.put((item, None))
            self._queue.put((None, StopIteration()))
        except BaseException as error:
            self._queue.put((None, error))
