"""What language models used, by role, and the caps on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from genesys_engine.engine.common.budget import Spending, new_warnings
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.api import BudgetSpent, LLMPrice, LLMUsage

TOKENS, USD = "budget.llm_tokens", "budget.llm_usd"
LOST = "lost replies may have used up"
POLL_S = 0.1


@dataclass(frozen=True)
class Caps:
    """What may be used over the whole run; None is no cap."""

    tokens: int | None = None
    usd: float | None = None

    def spendings(self, tokens: float, usd: float | None) -> tuple[Spending, Spending]:
        """Return what is used of both budgets."""
        return Spending(TOKENS, tokens, self.tokens), Spending(USD, usd, self.usd)


def add(one: LLMUsage, other: LLMUsage) -> LLMUsage:
    """Return both together; one unknown price makes the sum unknown."""
    usd = None if one.usd is None or other.usd is None else one.usd + other.usd
    return LLMUsage(
        one.calls + other.calls,
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        usd,
    )


def total(usage: Mapping[str, LLMUsage]) -> LLMUsage:
    """Return all roles together."""
    found = LLMUsage()
    for one in usage.values():
        found = add(found, one)
    return found


@dataclass(frozen=True, eq=False)
class Hold:
    """What a running call may still use, or what one whose reply was lost may have used."""

    tokens: int
    usd: float


class Meters:
    """Usage by role, and caps that are kept by reserving before a call what it may use.

    The reservation of a call whose reply is lost still counts against the caps: the service may
    bill it.  Being an estimate, it is no part of the usage, by which arms are compared, nor of the
    ledger: a later session begins without it, so that no outage uses a budget up for good.

    Args:
        caps: what may be used.
        used: what earlier sessions used.
        tell: called with (budget, used, cap, lost) at 50 and 80 %, once each; `used` has
            `lost`, the estimates, in it.
    """

    def __init__(
        self,
        caps: Caps,
        used: Mapping[str, LLMUsage],
        tell: Callable[[str, float, float, float], None] = lambda budget, used, cap, lost: None,
    ) -> None:
        self.caps = caps
        self._used = dict(used)
        self._tell = tell
        self._held: set[Hold] = set()  # of running calls
        self._lost: set[Hold] = set()  # of calls whose reply was lost
        self._changed = threading.Condition()
        self._said: set[str] = set()
        self._warnings()

    def demand_costs(self) -> None:
        """Raise `InputError` if a cap in US dollars cannot be kept: earlier costs are unknown."""
        if self.caps.usd is not None and total(self.usage()).usd is None:
            raise InputError(
                "earlier calls had an unknown price, so a cap in US dollars cannot be kept",
                where="[budget] llm_usd",
                hint="cap llm_tokens instead, or start a new run with the price in [llm]",
            )

    def usage(self) -> dict[str, LLMUsage]:
        """Return what was used so far, by role."""
        with self._changed:
            return dict(self._used)

    def reserve(
        self, tokens: int, price: LLMPrice | None, output: int, check: Callable[[], None]
    ) -> Hold:
        """Set aside what a call may use; waits for running calls if only they stand against it.

        None is running for long: it is released, or lost at its deadline.

        Args:
            tokens: input and output together.
            price: of the model; a cap in dollars needs one.
            output: those of `tokens` that are output.
            check: called while waiting; it raises to end the wait.

        Raises:
            BudgetSpent: a cap does not allow the call; the message is the budget, and says where
                only lost replies stand against it, since a later session begins without them.
        """
        usd = 0.0
        if price is not None:
            usd = (tokens - output) * price.input_usd + output * price.output_usd
        hold = Hold(tokens, usd)
        with self._changed:
            while (budget := self._against(hold, *self._held, *self._lost)) is not None:
                if not self._held:
                    raise BudgetSpent(budget if self._against(hold) else f"{LOST} {budget}")
                self._changed.wait(POLL_S)
                check()
            self._held.add(hold)
        return hold

    def release(self, hold: Hold) -> None:
        """Give back what a call reserved, also where it was lost before; safe to call twice."""
        with self._change():
            self._drop(hold)

    def lose(self, hold: Hold) -> None:
        """Let what a call reserved stand for what it used, unless it was released."""
        with self._change():
            if hold in self._held:
                self._drop(hold)
                self._lost.add(hold)

    def count(self, role: str, used: LLMUsage, hold: Hold) -> None:
        """Add what a call used, in the place of what it reserved."""
        with self._change():
            self._drop(hold)
            self._used[role] = add(self._used.get(role, LLMUsage()), used)

    def _drop(self, hold: Hold) -> None:
        self._held.discard(hold)
        self._lost.discard(hold)

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Change what is used or held; whoever waits looks again, and new shares are reported."""
        with self._changed:
            yield
            fresh = self._warnings()
            self._changed.notify_all()
        for each, lost in fresh:
            self._tell(each.budget, each.used or 0.0, each.cap or 0.0, lost)

    def _against(self, *holds: Hold) -> str | None:
        """Return the budget that does not allow `holds` next to what was used."""
        used, held = total(self._used), _sums(holds)
        now = self.caps.spendings(used.tokens, used.usd)
        return next((each.budget for each in now if not each.allows(held[each.budget])), None)

    def _warnings(self) -> list[tuple[Spending, float]]:
        """Return what has to be reported now, with the estimates of lost replies that are in it."""
        used, lost = total(self._used), _sums(self._lost)
        now = self.caps.spendings(used.tokens + lost[TOKENS], (used.usd or 0.0) + lost[USD])
        return [(each, lost[each.budget]) for each in new_warnings(self._said, now)]


def _sums(holds: Iterable[Hold]) -> dict[str, float]:
    """Return what calls have reserved together, by budget."""
    found = list(holds)
    return {
        TOKENS: float(sum(each.tokens for each in found)),
        USD: sum(each.usd for each in found),
    }
