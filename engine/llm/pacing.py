"""How many requests are running at once, and how many requests and tokens a minute sees."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

POLL_S = 0.1


class Bucket:
    """A token bucket: `per_minute` come in evenly, at most a minute's worth is kept.

    What is taken may be corrected afterwards; a correction may leave a debt that later ones wait
    for.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._capacity = per_minute
        self._level = per_minute
        self._clock = clock
        self._filled = clock()
        self._lock = threading.Lock()

    def take(self, amount: float) -> float:
        """Take `amount` if it is there and return 0, else return the seconds until it may be."""
        amount = self.bounded(amount)
        with self._lock:
            now = self._clock()
            self._level = min(self._capacity, self._level + (now - self._filled) * self._rate)
            self._filled = now
            if self._level >= amount:
                self._level -= amount
                return 0.0
            return (amount - self._level) / self._rate

    def bounded(self, amount: float) -> float:
        """Return what `take` takes for `amount`: more than a minute holds must pass some time."""
        return min(amount, self._capacity)

    def correct(self, amount: float) -> None:
        """Give back what was taken too much (or, negative, take what was taken too little)."""
        with self._lock:
            self._level = min(self._capacity, self._level + amount)


class Pace:
    """Admits requests: at most `concurrency` at once, and the rates of a minute.

    Args:
        concurrency: requests running at once.
        requests_per_minute, tokens_per_minute: None is no limit.
    """

    def __init__(
        self,
        concurrency: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        self._free = threading.Semaphore(concurrency)
        self._requests = None if requests_per_minute is None else Bucket(requests_per_minute)
        self._tokens = None if tokens_per_minute is None else Bucket(tokens_per_minute)

    @contextmanager
    def admitted(self, tokens: int, check: Callable[[], None]) -> Iterator[None]:
        """Hold a place for one request of about `tokens`.

        Args:
            check: called while waiting; it raises to end the wait.
        """
        for bucket, amount in ((self._requests, 1.0), (self._tokens, float(tokens))):
            while bucket is not None and (seconds := bucket.take(amount)) > 0:
                pause(seconds, check)
        while not self._free.acquire(timeout=POLL_S):
            check()
        try:
            yield
        finally:
            self._free.release()

    def used(self, expected: int, tokens: int) -> None:
        """Correct the tokens of a request that took another number than was expected."""
        if self._tokens is not None:
            self._tokens.correct(self._tokens.bounded(expected) - tokens)


def pause(seconds: float, check: Callable[[], None]) -> None:
    """Sleep; `check` is called every tenth of a second and raises to end the wait."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check()
        time.sleep(min(POLL_S, left))
    check()
