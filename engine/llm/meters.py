"""What language models used, by role, and the caps on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from genesys_engine.engine.shares import shares_passed
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.api import BudgetSpent, LLMPrice, LLMUsage

TOKENS, USD = "budget.llm_tokens", "budget.llm_usd"
POLL_S = 0.1


@dataclass(frozen=True)
class Caps:
    """What may be used over the whole run; None is no cap."""

    tokens: int | None = None
    usd: float | None = None

    def items(self) -> Iterable[tuple[str, float | None]]:
        """Yield (budget, cap)."""
        yield TOKENS, self.tokens
        yield USD, self.usd


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


@dataclass(frozen=True)
class Hold:
    """What a call under way may still use."""

    tokens: int
    usd: float


class Meters:
    """Usage by role, and caps that are kept by reserving before a call what it may use.

    Args:
        caps: what may be used.
        used: what earlier sessions used.
        tell: is told (budget, used, cap) when 50 and 80 % are reached, once each.
    """

    def __init__(
        self,
        caps: Caps,
        used: Mapping[str, LLMUsage],
        tell: Callable[[str, float, float], None] = lambda budget, used, cap: None,
    ) -> None:
        self.caps = caps
        self._used = dict(used)
        self._tell = tell
        self._held: list[Hold] = []
        self._changed = threading.Condition()
        self._told = set(self._reached())

    def demand_costs(self) -> None:
        """Raise `InputError` if a cap in US dollars cannot be kept: earlier costs are unknown."""
        if self.caps.usd is not None and total(self.usage()).usd is None:
            raise InputError(
                "what was asked before had an unknown price, so a cap in US dollars cannot be kept",
                where="[budget] llm_usd",
                hint="cap llm_tokens instead, or begin a new run with the price in [llm]",
            )

    def usage(self) -> dict[str, LLMUsage]:
        """Return what was used so far, by role."""
        with self._changed:
            return dict(self._used)

    def reserve(
        self, tokens: int, price: LLMPrice | None, output: int, check: Callable[[], None]
    ) -> Hold:
        """Set aside what a call may use; waits for calls under way if only they stand against it.

        Args:
            tokens: input and output together.
            price: of the model; a cap in dollars needs one.
            output: those of `tokens` that are output.
            check: called while waiting; it raises to end the wait.

        Raises:
            BudgetSpent: a cap does not allow the call.
        """
        usd = 0.0
        if price is not None:
            usd = (tokens - output) * price.input_usd + output * price.output_usd
        hold = Hold(tokens, usd)
        with self._changed:
            while (budget := self._against(hold)) is not None:
                if not self._held:
                    raise BudgetSpent(budget)
                self._changed.wait(POLL_S)
                check()
            self._held.append(hold)
        return hold

    def release(self, hold: Hold) -> None:
        """Give back what a call did not use."""
        with self._changed:
            self._held.remove(hold)
            self._changed.notify_all()

    def count(self, role: str, used: LLMUsage) -> None:
        """Add what a call used."""
        with self._changed:
            self._used[role] = add(self._used.get(role, LLMUsage()), used)
            fresh = {key: value for key, value in self._reached().items() if key not in self._told}
            self._told |= set(fresh)
            self._changed.notify_all()
        for (budget, _), (spent, cap) in fresh.items():
            self._tell(budget, spent, cap)

    def _against(self, hold: Hold) -> str | None:
        """Return the budget that does not allow `hold`."""
        used = total(self._used)
        holds = [*self._held, hold]
        if self.caps.tokens is not None and (
            used.tokens + sum(each.tokens for each in holds) > self.caps.tokens
        ):
            return TOKENS
        if self.caps.usd is not None and (
            used.usd is None or used.usd + sum(each.usd for each in holds) > self.caps.usd
        ):
            return USD  # what was used may be anything where a price was unknown
        return None

    def _reached(self) -> dict[tuple[str, int], tuple[float, float]]:
        """Return (budget, percent) -> (used, cap) of what has been reached."""
        used = total(self._used)
        amounts = {TOKENS: float(used.tokens), USD: used.usd or 0.0}
        return {
            (budget, percent): (amounts[budget], cap)
            for budget, cap in self.caps.items()
            if cap is not None
            for percent in shares_passed(amounts[budget], cap)
        }
