"""Threads that never keep the process alive.

The interpreter waits for the threads of `concurrent.futures` when it ends, and one that waits for
a service may wait for minutes; a second Ctrl-C would hang.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
LLM_CALL = "llm-call"
"""Name of the threads that wait for a language model."""
Work = tuple[Future[Any], Callable[[], Any]]


class DaemonPool:
    """A fixed number of daemon threads that take work in order."""

    def __init__(self, threads: int, name: str) -> None:
        self._waiting: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Have `function(*args)` called by a thread."""
        future: Future[T] = Future()
        self._waiting.put((future, lambda: function(*args)))
        return future

    def close(self) -> None:
        """Take back what has not started, and let the threads end after what they are at."""
        while True:
            try:
                work = self._waiting.get(block=False)
            except queue.Empty:
                break
            if work is not None:
                work[0].cancel()
        for _ in self._threads:
            self._waiting.put(None)

    def _serve(self) -> None:
        while (work := self._waiting.get()) is not None:
            future, call = work
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # handed to whoever waits
                future.set_exception(error)
