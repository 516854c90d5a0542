"""The gateway: every request of every operator to a language model passes here.

record   a request that was answered before is answered from the ledger, at no cost
place    a place among the running requests, and the rates of a minute
caps     what the call may use at most is reserved, and counts as used where its reply is lost;
         a cap that forbids it ends the run
call     in a thread of its own, so that stopping never waits for a service
ledger   the reply is on the disk before anybody uses it
again    what may pass is asked again with growing pauses, until `give_up_after_s`
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from genesys_engine.engine.common.randomness import generator
from genesys_engine.engine.common.threads import LLM_CALL
from genesys_engine.engine.config.schema import LLMSection
from genesys_engine.engine.llm.attempt import (
    OF_SCHEMAS,
    Asked,
    SchemaRefused,
    prompt_tokens,
    read_reply,
    shown,
)
from genesys_engine.engine.llm.backends import Model, open_models
from genesys_engine.engine.llm.ledger import Call, Ledger, call_key
from genesys_engine.engine.llm.outage import Fault
from genesys_engine.engine.llm.pacing import POLL_S, Pace, pause
from genesys_engine.engine.llm.spending import Caps, Hold, Meters, add
from genesys_engine.engine.store.event_types import (
    BudgetWarning,
    LLMReachable,
    LLMSchemaRefused,
    LLMUnreachable,
)
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
from genesys_engine.plugins.llm.failures import ADVICE, RESUME, SAYS, classify
from genesys_engine.plugins.llm.replay import RecordedRefusal
from genesys_engine.plugins.llm.replies import spoken
from genesys_engine.plugins.llm.requests import request_digest

if TYPE_CHECKING:
    from genesys_engine.plugins.registry import Registry

GRACE_S = 5.0
"""A back end that is this late behind its deadline counts as gone."""
LINE = 120
"""Characters that are shown of a reply's first line."""


class LLMOutage(EnvironmentProblem):
    """A service did not answer for `give_up_after_s`; the run can be resumed."""


Notice = LLMUnreachable | LLMReachable | LLMSchemaRefused | BudgetWarning
"""What a person should know; it goes into the log and decides nothing."""


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
        self._asked: set[str] = set()  # keys running
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

    @property
    def stop_after_failures(self) -> int:
        """Equal failures in a row that end a run; 0 is no limit."""
        return self._section.stop_after_failures

    def place(self, role: str) -> str:
        """Return the model of a role with its address, for messages; "" for an unknown role."""
        return self._models[role].place if role in self._models else ""

    def is_live(self, role: str) -> bool:
        """Tell whether a service or a model stands behind a role, and no script."""
        return bool(getattr(self._models[role].backend, "live", True))

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
            raise ValueError(f"unknown role {role!r}")
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
            pause = getattr(error, "retry_after_s", None)
            return backoff if pause is None else pause + rng.random() * section.backoff_s

        def too_long(state: tenacity.RetryCallState) -> bool:
            return (state.seconds_since_start or 0.0) + state.upcoming_sleep > (
                section.give_up_after_s
            )

        def note(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome is not None else None
            kind = getattr(error, "kind", "")
            model.outage.failed(Fault(kind, str(error), state.upcoming_sleep))

        policy = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(LLMUnavailable),
            wait=seconds,
            stop=too_long,
            before_sleep=note,
            sleep=lambda pause_s: pause(pause_s, self._check),
            reraise=True,
        )
        number = 0
        asked = replace(asked, request=timed, bare=model.bare.get(asked.role, ""))
        try:
            for attempt in policy:
                with attempt:
                    number += 1
                    if (late := self._ledger.find(key) if number > 1 else None) is not None:
                        return late
                    try:
                        return self._attempt(model, replace(asked, attempt=number))
                    except SchemaRefused as refusal:
                        asked = replace(asked, bare=str(refusal))
                        return self._bare_attempt(model, replace(asked, attempt=number))
        except LLMUnavailable as error:
            rest, most = error.retry_after_s or 0.0, section.give_up_after_s
            longer = f"the service requests a pause of {rest:g} s, longer than {most:g} s"
            advice = ADVICE.get(error.kind, RESUME)
            call = "" if "deadline_s" in advice else ", deadline_s the time of one call"
            raise LLMOutage(
                f"{longer if rest > most else f'there has been no answer for {most:g} s'}: {error}",
                where=model.place,
                hint=f"{advice}; [llm] give_up_after_s limits the wait{call}",
            ) from error
        raise AssertionError("tenacity returns or raises")

    def _bare_attempt(self, model: Model, asked: Asked) -> Call:
        """Make a call again without its schema, which the service has refused; where it is
        answered so, the requests of the role go without from now on."""
        call = self._attempt(model, asked)
        if call.refused is None and asked.role not in model.bare:
            model.bare[asked.role] = asked.bare
            self._tell(LLMSchemaRefused(model=model.name, role=asked.role, reason=asked.bare))
        return call

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
                late = f"{SAYS['slow']}: no answer within {seconds:g} s"
                raise LLMUnavailable(late, billed=True, kind="slow")
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
            call = read_reply(model, asked, model.complete(asked.request, asked.sent))
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
        recorded = isinstance(meaning, RecordedRefusal)
        if asked.sent.schema is not None and (
            (isinstance(meaning, LLMRequestRefused) and not recorded)
            or (isinstance(meaning, LLMUnavailable) and OF_SCHEMAS.search(str(meaning)))
        ):
            raise SchemaRefused(shown(getattr(meaning, "message", str(meaning)))) from None
        if isinstance(meaning, LLMUnavailable):
            message = shown(str(meaning))
            if meaning.kind == "strange" and not self._ledger.has_answered(model.name):
                raise LLMRefused(message, where=self._where(model), hint=ADVICE["strange"])
            raise LLMUnavailable(
                message,
                retry_after_s=meaning.retry_after_s,
                billed=meaning.billed,
                kind=meaning.kind,
            ) from None
        assert isinstance(meaning, LLMRefused)
        message = shown(meaning.message)
        # A service that has never answered is more likely asked in a wrong way altogether.
        if recorded or (
            isinstance(meaning, LLMRequestRefused) and self._ledger.has_answered(model.name)
        ):
            return replace(asked.call(model, None), refused=message)
        raise LLMRefused(message, where=self._where(model), hint=meaning.hint) from None

    @staticmethod
    def _where(model: Model) -> str:
        return f"{model.where} {model.place}"

    # --- stopping and telling ----------------------------------------------------------------

    def _check(self) -> None:
        if self._stopping.is_set() or self._should_stop() is not None:
            raise LLMInterrupted

    def _distinct(self) -> list[Model]:
        return list({id(model): model for model in self._models.values()}.values())

    def _tell_outage(self, name: str, fault: Fault | None) -> None:
        if fault is None:
            self._tell(LLMReachable(model=name))
            return
        address = next(m.address for m in self._models.values() if m.name == name)
        about = LLMUnreachable(
            model=name,
            address=address,
            kind=fault.kind,
            reason=fault.reason,
            next_try_s=round(fault.next_try_s, 1),
        )
        self._tell(about)

    def _tell_warning(self, budget: str, used: float, cap: float, lost: float) -> None:
        self._tell(BudgetWarning(budget=budget, used=used, cap=cap, lost=lost or None))


class Client:
    """What the operators of one task ask through; follows `plugins.kinds.LLM`."""

    def __init__(self, gateway: Gateway, task: str) -> None:
        self._gateway = gateway
        self._task = task
        self._used: dict[str, LLMUsage] = {}
        self._last: Call | None = None

    def ask(self, role: str, request: LLMRequest) -> LLMReply:
        """Return the reply to `request`; see `plugins.kinds.LLM`."""
        call = self._last = self._gateway.answer(self._task, role, request)
        used = LLMUsage(1, call.input_tokens, call.output_tokens, call.usd)
        self._used[role] = add(self._used.get(role, LLMUsage()), used)
        return call.as_reply()

    def last_reply(self) -> tuple[str, str] | tuple[None, None]:
        """Return the role that answered last and how its reply begins; None before any reply."""
        if self._last is None:
            return None, None
        lines = spoken(self._last.reply or "").split("\n")
        shown = [line.strip() for line in lines if line.strip()] or ["(nothing)"]
        # The line that opens a block of code says nothing.
        first = next((line for line in shown if not line.startswith("```")), shown[0])
        return self._last.role, "".join(filter(str.isprintable, first))[:LINE]

    def usage(self) -> Mapping[str, LLMUsage]:
        """Return what this task has used, by role, calls answered by the record included."""
        return dict(self._used)
