"""The gateway: every request of every operator to a language model passes here.

record   a request that was answered before is answered from the ledger, at no cost
place    a place among the requests under way, and the rates of a minute
caps     what the call may use at most is reserved, and counts as used where its reply is lost;
         a cap that forbids it ends the run
call     in a thread of its own, so that stopping never waits for a service
ledger   the reply is on the disk before anybody uses it
again    what may pass is asked again with growing pauses, until `give_up_after_s`
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from genesys_engine.engine.config.schema import LLMSection
from genesys_engine.engine.events import canonical_json
from genesys_engine.engine.llm.backends import Model, open_models
from genesys_engine.engine.llm.ledger import Call, Ledger, call_key
from genesys_engine.engine.llm.meters import Caps, Hold, Meters, add
from genesys_engine.engine.llm.pacing import POLL_S, Pace, pause
from genesys_engine.engine.llm.redact import redact
from genesys_engine.engine.randomness import generator
from genesys_engine.engine.threads import LLM_CALL
from genesys_engine.gab.errors import EnvironmentProblem, GenesysError, PluginError
from genesys_engine.plugins.api import (
    ROLES,
    LLMInterrupted,
    LLMRefused,
    LLMReply,
    LLMRequest,
    LLMRequestRefused,
    LLMUnavailable,
    LLMUsage,
)
from genesys_engine.plugins.llm.failures import classify
from genesys_engine.plugins.llm.replay import RecordedRefusal
from genesys_engine.plugins.llm.requests import canonical_request, request_digest

if TYPE_CHECKING:
    from genesys_engine.plugins.registry import Registry

BYTES_PER_TOKEN = 3
"""Of a prompt, at least: what is reserved before a call is seldom too little."""
GRACE_S = 5.0
"""A back end that is this late behind its deadline counts as gone."""
LONGEST_REPLY = 200_000
"""Characters that are kept of a reply; more than any model is asked to write."""
LONGEST_MESSAGE = 500
"""Characters that are kept of what a service says of an error."""
MOST_TOKENS = 1 << 40
"""No service counts as many in a call."""


class LLMOutage(EnvironmentProblem):
    """A service did not answer for `give_up_after_s`; the run can be resumed."""


@dataclass(frozen=True)
class Notice:
    """Something that a person should know.

    `kind` is "unreachable" (`model`, `reason`), "reachable" (`model`) or "warning" (`budget`,
    `used`, `cap`, and `lost`, where a part of `used` is an estimate for replies that were lost).
    """

    kind: str
    payload: Mapping[str, Any]


class Gateway:
    """Asks language models on behalf of the designs of one run or study.

    Args:
        section: which model for which role, pauses and rates.
        registry: where the back ends are found.
        ledger: the record; its calls count against `caps`.  It is closed with the gateway.
        caps: what may be used over the whole record.
        should_stop: a reason ends every wait within a tenth of a second.
        tell: gets notices, from any thread.
    """

    def __init__(
        self,
        section: LLMSection,
        registry: Registry,
        ledger: Ledger,
        *,
        caps: Caps | None = None,
        should_stop: Callable[[], str | None] = lambda: None,
        tell: Callable[[Notice], None] = lambda notice: None,
    ) -> None:
        self._section = section
        self._ledger = ledger
        self._should_stop = should_stop
        self._tell = tell
        self._stopping = threading.Event()
        self._models = open_models(section, registry, self._tell_outage)
        self._meters = Meters(caps or Caps(), ledger.usage(), self._tell_warning)
        self._pace = Pace(
            section.concurrency, section.requests_per_minute, section.tokens_per_minute
        )
        self._asked: set[str] = set()  # keys under way
        self._asked_changed = threading.Condition()

    def prepare(self) -> None:
        """Look whether every model can be asked and every cap can be kept; nothing is spent.

        Raises:
            InputError: a key or a file is missing, or a price is unknown that a cap needs.
        """
        for model in self._distinct():
            model.prepare()
            if self._meters.caps.usd is not None:
                model.demand_price()
        self._meters.demand_costs()

    def client(self, task: str) -> Client:
        """Return what the operators of one task ask through; `task` names it in the record."""
        return Client(self, task)

    def usage(self) -> dict[str, LLMUsage]:
        """Return what the whole record used, by role; replies from the record count once."""
        return self._meters.usage()

    def stop(self) -> None:
        """End every wait: whoever is asking gets `LLMInterrupted`."""
        self._stopping.set()

    def close(self) -> None:
        """Stop, and let the back ends and the ledger go; safe to call twice."""
        self.stop()
        for model in self._distinct():
            model.backend.close()
        self._ledger.close()

    # --- one request -------------------------------------------------------------------------

    def answer(self, task: str, role: str, request: LLMRequest) -> Call:
        """Return the call that answers `request`, from the record or made now; see `LLM.ask`."""
        if role not in ROLES:
            raise ValueError(f"there is no role {role!r}")
        model, digest = self._models[role], request_digest(request)
        key = call_key(model.name, digest)
        with self._alone(key):
            found = self._ledger.find(key) or self._make(model, key, Asked(task, role, request, 0))
        if found.refused is not None:
            raise LLMRequestRefused(found.refused, where=model.name)
        return found

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Let nobody else ask the same meanwhile: it would be paid for twice."""
        with self._asked_changed:
            while key in self._asked:
                self._asked_changed.wait(POLL_S)
                self._check()
            self._asked.add(key)
        try:
            yield
        finally:
            with self._asked_changed:
                self._asked.discard(key)
                self._asked_changed.notify_all()

    def _make(self, model: Model, key: str, asked: Asked) -> Call:
        """Call until there is an answer; pauses grow, and Retry-After is kept to.

        The record is looked at before another attempt: a late answer to the one before is there.
        """
        import tenacity

        section, request = self._section, asked.request
        timed = replace(request, deadline_s=section.deadline_s or request.deadline_s)
        rng = generator(request.seed, request_digest(request), 0)

        def seconds(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome is not None else None
            growing = section.backoff_s * 2.0 ** min(state.attempt_number - 1, 30)
            backoff = min(section.longest_pause_s, growing) * (0.5 + rng.random())
            told = getattr(error, "retry_after_s", None)
            return backoff if told is None else told + rng.random() * section.backoff_s

        def too_long(state: tenacity.RetryCallState) -> bool:
            return (state.seconds_since_start or 0.0) + state.upcoming_sleep > (
                section.give_up_after_s
            )

        policy = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(LLMUnavailable),
            wait=seconds,
            stop=too_long,
            sleep=lambda pause_s: pause(pause_s, self._check),
            reraise=True,
        )
        number = 0
        try:
            for attempt in policy:
                with attempt:
                    number += 1
                    late = self._ledger.find(key) if number > 1 else None
                    now = replace(asked, request=timed, attempt=number)
                    return late or self._attempt(model, now)
        except LLMUnavailable as error:
            rest, most = error.retry_after_s or 0.0, section.give_up_after_s
            longer = f"the service asks for a pause of {rest:g} s, longer than {most:g} s"
            raise LLMOutage(
                f"{longer if rest > most else f'there has been no answer for {most:g} s'}: {error}",
                where=model.name,
                hint="resume when the service is back; [llm] give_up_after_s says how long to"
                " wait, deadline_s how long one call may take",
            ) from error
        raise AssertionError("tenacity returns or raises")

    def _attempt(self, model: Model, asked: Asked) -> Call:
        """Make one call, within the rates and caps."""
        request = asked.request
        expected = prompt_tokens(request) + request.max_tokens
        with self._pace.admitted(expected, self._check):
            self._check()
            price = model.price if self._meters.caps.usd is not None else None
            hold = self._meters.reserve(expected, price, request.max_tokens, self._check)
            made: Future[Call] = Future()
            threading.Thread(
                target=self._run, args=(model, asked, hold, made), name=LLM_CALL, daemon=True
            ).start()
            call = self._wait(made, model, hold, request.deadline_s + GRACE_S)
        self._pace.used(expected, call.input_tokens + call.output_tokens)
        return call

    def _wait(self, made: Future[Call], model: Model, hold: Hold, seconds: float) -> Call:
        """Wait for a call; what is no longer waited for is still recorded when it comes.

        Until then it counts as lost: others need not wait for what it holds.
        """
        end = time.monotonic() + seconds
        while not wait([made], timeout=POLL_S).done:
            self._check()
            if time.monotonic() > end:
                self._meters.lose(hold)
                late = LLMUnavailable(f"no answer within {seconds:g} s", billed=True)
                model.outage.failed(str(late))
                raise late
        return made.result()

    def _run(self, model: Model, asked: Asked, hold: Hold, made: Future[Call]) -> None:
        """Carry out one call, in a thread of its own, and record it."""
        settle = self._meters.release
        try:
            made.set_result(self._record(self._call(model, asked), hold))
        except BaseException as error:  # handed to whoever waits
            if isinstance(error, LLMUnavailable) and error.billed:
                settle = self._meters.lose
            made.set_exception(error)
        finally:
            settle(hold)

    def _call(self, model: Model, asked: Asked) -> Call:
        """Return what came of one call, to be recorded; raise what is no answer."""
        started = time.monotonic()
        try:
            call = read_reply(model, asked, model.complete(asked.request))
        except Exception as error:
            return self._failed(model, asked, error)
        model.outage.answered()
        return replace(call, latency_s=time.monotonic() - started)

    def _record(self, call: Call, hold: Hold) -> Call:
        """Record a call; return the first of its key, which is the one that is used."""
        self._ledger.add(call)
        usage = LLMUsage(1, call.input_tokens, call.output_tokens, call.usd)
        self._meters.count(call.role, usage, hold)
        return self._ledger.find(call.key) or call

    def _failed(self, model: Model, asked: Asked, error: Exception) -> Call:
        """Return a refusal as a call that is recorded; raise what else an error means."""
        meaning = classify(error)
        if meaning is None and isinstance(error, GenesysError):
            raise error
        if meaning is None:
            raise PluginError(
                shown(f"raised {type(error).__name__}: {error}"),
                where=f"LLM back end {model.name}",
            ) from error
        if isinstance(meaning, LLMUnavailable):
            hidden = LLMUnavailable(
                shown(str(meaning)), retry_after_s=meaning.retry_after_s, billed=meaning.billed
            )
            model.outage.failed(str(hidden))
            raise hidden from None
        assert isinstance(meaning, LLMRefused)
        message = shown(meaning.message)
        # A service that has never answered is more likely asked in a wrong way altogether.
        if isinstance(meaning, RecordedRefusal) or (
            isinstance(meaning, LLMRequestRefused) and self._ledger.has_answered(model.name)
        ):
            return replace(asked.call(model, None), refused=message)
        raise LLMRefused(message, where=f"{model.where} {model.name}", hint=meaning.hint) from None

    # --- stopping and telling ----------------------------------------------------------------

    def _check(self) -> None:
        if self._stopping.is_set() or self._should_stop() is not None:
            raise LLMInterrupted

    def _distinct(self) -> list[Model]:
        return list({id(model): model for model in self._models.values()}.values())

    def _tell_outage(self, name: str, reason: str | None) -> None:
        if reason is None:
            self._tell(Notice("reachable", {"model": name}))
        else:
            self._tell(Notice("unreachable", {"model": name, "reason": reason}))

    def _tell_warning(self, budget: str, used: float, cap: float, lost: float) -> None:
        about = {"budget": budget, "used": used, "cap": cap}
        self._tell(Notice("warning", about | ({"lost": lost} if lost else {})))


@dataclass(frozen=True)
class Asked:
    """One attempt at one request of a task."""

    task: str
    role: str
    request: LLMRequest
    attempt: int

    def call(self, model: Model, reply: str | None) -> Call:
        """Return the call that records it."""
        return Call(
            role=self.role,
            task=self.task,
            model=model.name,
            request=canonical_request(self.request),
            request_digest=request_digest(self.request),
            reply=reply,
            attempt=self.attempt,
        )


class Client:
    """What the operators of one task ask through; follows `plugins.kinds.LLM`."""

    def __init__(self, gateway: Gateway, task: str) -> None:
        self._gateway = gateway
        self._task = task
        self._used: dict[str, LLMUsage] = {}

    def ask(self, role: str, request: LLMRequest) -> LLMReply:
        """Return the reply to `request`; see `plugins.kinds.LLM`."""
        call = self._gateway.answer(self._task, role, request)
        used = LLMUsage(1, call.input_tokens, call.output_tokens, call.usd)
        self._used[role] = add(self._used.get(role, LLMUsage()), used)
        return call.as_reply()

    def usage(self) -> Mapping[str, LLMUsage]:
        """Return what this task has used, by role, calls answered by the record included."""
        return dict(self._used)


def shown(text: str) -> str:
    """Return what is said of an error as a person may read it: without keys, and cut only then,
    since the part of a key before a cut would not be known for one."""
    return redact(text)[:LONGEST_MESSAGE]


def read_reply(model: Model, asked: Asked, reply: object) -> Call:
    """Return the call that records a reply: bounded, and with counts that a cap can rely on.

    What a service does not count is estimated from the text; `details` then says so.  Keys, half
    characters, and counts and costs that are none are left out, so that any reply can be recorded.

    Raises:
        TypeError: it is no reply at all.
    """
    if not isinstance(reply, LLMReply) or not isinstance(reply.text, str):
        raise TypeError(f"the reply is a {type(reply).__name__}, not an LLMReply with a text")
    text = redact(reply.text.encode(errors="replace").decode())
    details = _details(reply.details)
    if len(text) > LONGEST_REPLY:
        details["cut_from"] = len(text)
        text = text[:LONGEST_REPLY]
    took, gave = _counted(reply.input_tokens), _counted(reply.output_tokens)
    if took is None or gave is None:
        details["estimated"] = True
    took = prompt_tokens(asked.request) if took is None else took
    gave = math.ceil(len(text.encode()) / BYTES_PER_TOKEN) if gave is None else gave
    usd = reply.usd if reply.usd is not None and 0 <= reply.usd < math.inf else None
    if usd is None and (price := model.price) is not None:
        usd = took * price.input_usd + gave * price.output_usd
    call = asked.call(model, text)
    return replace(call, input_tokens=took, output_tokens=gave, usd=usd, details=details)


def _counted(tokens: int | None) -> int | None:
    return tokens if isinstance(tokens, int) and 0 <= tokens < MOST_TOKENS else None


def _details(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a back end tells of a reply, or nothing of it where it is no JSON."""
    try:
        return dict(json.loads(canonical_json(dict(given))))
    except (TypeError, ValueError, RecursionError):
        return {}


def prompt_tokens(request: LLMRequest) -> int:
    """Return about how many tokens a prompt has, rather too many."""
    size = sum(len(text.encode("utf-8", "replace")) for _, text in request.messages)
    return math.ceil(size / BYTES_PER_TOKEN) + 8 * len(request.messages)
