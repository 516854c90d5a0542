"""How remote sources ask: slowly enough, not twice, and not for ever.

Answers are kept as files under the cache.  The time of the last request to a service stands in
a file that is locked while one waits and asks, so that all processes of a machine together keep
to its rate.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine import __version__
from genesys_engine.gab.errors import EnvironmentProblem, shortened
from genesys_engine.plugins.retry_after import seconds_of

if TYPE_CHECKING:
    import httpx
    import tenacity

    from genesys_engine.plugins.knowledge.sources.options import RemoteOptions

AGENT = f"genesys-engine/{__version__}"
MAX_BYTES = 20_000_000  # of one answer
LONGEST_PAUSE_S = 60.0  # whatever a service's Retry-After says
AGAIN = (429, 500, 502, 503, 504)
DAY_S = 86_400.0


class SourceUnavailable(EnvironmentProblem):
    """A source is unreachable, or its answer cannot be read."""


@dataclass(frozen=True)
class Answer:
    """An answer of a service."""

    status: int
    text: str


class _TryAgain(Exception):
    """A temporary failure; `pause_s` is the pause that the service asked for, if any."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class _KeepHome:
    """Takes the headers `private` out of a request that a redirect leads to another origin.

    httpx does so with `Authorization` alone.
    """

    def __init__(self, home: httpx.URL, private: Iterable[str]) -> None:
        self._home = _origin(home)
        self._private = tuple(private)

    def __call__(self, request: httpx.Request) -> None:
        if _origin(request.url) != self._home:
            for name in self._private:
                request.headers.pop(name, None)


class Client:
    """Asks one service.

    Args:
        name: the source's name, for messages and file names.
        options: `timeout_s`, `attempts`, `cache_days`, `interval_s`.
        cache: a folder for what can be made again.
        read: returns what the text of an answer says; raises ValueError ("is not JSON") if it
            is not of the service's form.  Such an answer (a network's login page) is not kept.
    """

    def __init__(
        self, name: str, options: RemoteOptions, cache: Path, read: Callable[[str], Any]
    ) -> None:
        self.name = name
        self._read = read
        self._options = options
        self._interval_s: float = getattr(options, "interval_s", 0.0)
        self._folder = cache / "knowledge" / name

    def get(
        self,
        url: str,
        parameters: Mapping[str, str],
        *,
        headers: Mapping[str, str] | None = None,
        expected: tuple[int, ...] = (200,),
    ) -> Answer:
        """Return the answer to a GET; see `ask`."""
        return self.ask("GET", url, {"params": dict(parameters)}, headers or {}, expected)

    def post(
        self,
        url: str,
        body: Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        expected: tuple[int, ...] = (200,),
    ) -> Answer:
        """Return the answer to a POST of JSON; see `ask`."""
        return self.ask("POST", url, {"json": dict(body)}, headers or {}, expected)

    def ask(
        self,
        method: str,
        url: str,
        request: Mapping[str, Any],
        headers: Mapping[str, str],
        expected: tuple[int, ...],
    ) -> Answer:
        """Return the answer, from the cache where it is fresh.

        Network faults and the statuses of a service in trouble are tried again with growing
        pauses, at least as long as the service asks.

        Raises:
            SourceUnavailable: no answer with an expected status could be had, or it cannot be
                read.
        """
        key = json.dumps([method, url, request], sort_keys=True)  # never a key of the user
        kept = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
        if answer := self._kept(kept):
            return answer
        try:
            answer = self._policy()(self._once, method, url, request, headers)
        except _TryAgain as error:
            raise self.unavailable(str(error)) from error
        if answer.status not in expected:
            raise self.unavailable(f"status {answer.status}: {shortened(answer.text, 200)}")
        if answer.status == 200:
            self.read(answer)
            self._keep(kept, answer)
        return answer

    def read(self, answer: Answer) -> Any:
        """Return what an answer says; raises `SourceUnavailable` if it cannot be read."""
        try:
            return self._read(answer.text)
        except ValueError as error:
            raise self.unavailable(f"the answer {error}") from error

    def unavailable(self, reason: str) -> SourceUnavailable:
        """Return the error that says this source cannot be used."""
        return SourceUnavailable(
            f"cannot be used: {reason}",
            where=f"knowledge source {self.name}",
            hint="check the network or its options; what is in the base can be searched without it",
        )

    def _policy(self) -> tenacity.Retrying:
        import tenacity

        grow = tenacity.wait_exponential_jitter(initial=1, max=LONGEST_PAUSE_S / 2)

        def pause(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.pause_s if isinstance(error, _TryAgain) else None
            return grow(state) if asked is None else min(asked, LONGEST_PAUSE_S)

        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._options.attempts),
            wait=pause,
            retry=tenacity.retry_if_exception_type(_TryAgain),
            reraise=True,
        )

    def _once(
        self, method: str, url: str, request: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Answer:
        import httpx

        named = {"User-Agent": AGENT, **headers}
        with self._turn(), httpx.Client(timeout=self._options.timeout_s) as http:
            deadline = time.monotonic() + self._options.timeout_s
            try:
                http.event_hooks = {"request": [_KeepHome(httpx.URL(url), headers)]}
                with http.stream(
                    method, url, headers=named, follow_redirects=True, **request
                ) as reply:
                    text = _body(reply, deadline)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise self.unavailable(f"wrong address {url!r}: {error}") from error
            except httpx.RequestError as error:
                raise _TryAgain(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        if reply.status_code in AGAIN:
            pause = _retry_after(reply.headers.get("retry-after", ""))
            raise _TryAgain(f"status {reply.status_code}", pause)
        return Answer(reply.status_code, text)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until the service may be asked again; one at a time on this machine."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._folder / "turn", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            rest = self._interval_s - (time.time() - os.fstat(handle).st_mtime)
            if os.fstat(handle).st_size:
                time.sleep(min(max(rest, 0.0), self._interval_s))  # clocks may be set back
            yield
        finally:
            os.pwrite(handle, b"asked", 0)  # its time of change is the time of the request
            os.close(handle)

    def _kept(self, path: Path) -> Answer | None:
        try:
            if time.time() - path.stat().st_mtime > self._options.cache_days * DAY_S:
                return None
            answer = Answer(**json.loads(path.read_text(encoding="utf-8")))
            self.read(answer)
            return answer
        except (OSError, ValueError, TypeError, SourceUnavailable):
            return None

    def _keep(self, path: Path, answer: Answer) -> None:
        with contextlib.suppress(OSError):  # without a cache it only takes longer
            handle, name = tempfile.mkstemp(dir=path.parent, suffix=".partial")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(answer), file)
            Path(name).replace(path)


def read_json(text: str) -> Any:
    """Return what JSON says; raises ValueError in the words that a `Client` expects."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from error


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _body(reply: httpx.Response, deadline: float) -> str:
    """Read an answer that is neither endless nor dripping."""
    parts, size = [], 0
    for part in reply.iter_bytes():
        size += len(part)
        if size > MAX_BYTES:
            raise _TryAgain(f"the answer has more than {MAX_BYTES:,} bytes")
        if time.monotonic() > deadline:
            raise _TryAgain("the answer took too long")
        parts.append(part)
    return b"".join(parts).decode("utf-8", "replace")


def _retry_after(value: str) -> float | None:
    """Return the seconds of a Retry-After header, None where they are not finite."""
    seconds = seconds_of(value)
    return None if seconds is None or not math.isfinite(seconds) else max(seconds, 0.0)
