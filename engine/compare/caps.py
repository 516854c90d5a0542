"""What an arm of an implementation study used, and the caps that all arms have in common.

A cap ends an arm within one call: `ArmClient` refuses the next one.  The proposal that was cut
short is not recorded, since the arm has not failed at it; its replies are, so that a study that
is continued under a higher cap pays for none of them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from genesys_engine.engine.common.budget import Spending, first_spent
from genesys_engine.engine.compare.store import Result
from genesys_engine.engine.config.schema import ARM_CAPS, CompareSection
from genesys_engine.engine.llm.meters import total
from genesys_engine.plugins.api import LLM, BudgetSpent, LLMReply, LLMRequest, LLMUsage


class ArmSpent(BudgetSpent):
    """A cap of one arm is reached, the others continue; (its name)."""


@dataclass(frozen=True)
class Spent:
    """What an arm used; `usd` is None once a price was unknown."""

    tokens: int = 0
    usd: float | None = 0.0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        return Spent(self.tokens + other.tokens, usd, self.seconds + other.seconds)


def tokens_of(payload: Mapping[str, Any]) -> int:
    """Return the tokens of a result, input and output."""
    used = payload["usage"].values()
    return sum(role["input_tokens"] + role["output_tokens"] for role in used)


def usd_of(payload: Mapping[str, Any]) -> float | None:
    """Return the US dollars of a result; None where a price was unknown."""
    parts = [role["usd"] for role in payload["usage"].values()]
    return None if None in parts else float(sum(parts))


def spent_by(results: Iterable[Result], arm: str, cut: Mapping[str, Mapping[str, Any]]) -> Spent:
    """Return what an arm used on the proposals that it has met, and the time of those cut short.

    Of these the tokens and dollars are counted again when the replies are read from the record.

    Args:
        cut: the arms that were ended in the middle of a proposal, as the store has them.
    """
    own = [result for result in list(results) if result.arm == arm]
    parts = (Spent(tokens_of(r.payload), usd_of(r.payload), r.seconds) for r in own)
    return sum(parts, start=Spent(seconds=cut[arm]["seconds"] if arm in cut else 0.0))


def spent_now(usage: Mapping[str, LLMUsage], seconds: float) -> Spent:
    """Return what the work on one proposal used so far."""
    used = total(usage)
    return Spent(used.tokens, used.usd, seconds)


def cap_reached(section: CompareSection, spent: Spent) -> str | None:
    """Return the name of the cap that ends an arm, None while it may continue."""
    hours = section.wall_hours
    return first_spent(
        (
            Spending("compare.tokens", spent.tokens, section.tokens),
            Spending("compare.usd", spent.usd, section.usd),
            Spending("compare.wall_hours", spent.seconds, None if hours is None else 3600 * hours),
        )
    )


def is_capped(section: CompareSection) -> bool:
    """Tell whether the arms of an implementation study have a cap."""
    return any(getattr(section, cap) is not None for cap in ARM_CAPS)


class ArmClient:
    """What an arm asks through while it works on a proposal.

    Args:
        client: of the task.
        check: gets what the task used so far and raises `ArmSpent` at a cap.
    """

    def __init__(self, client: LLM, check: Callable[[Mapping[str, LLMUsage]], None]) -> None:
        self._client = client
        self._check = check

    def ask(self, role: str, request: LLMRequest) -> LLMReply:
        """Return the reply; `ArmSpent` where a cap allows no further call."""
        self._check(self._client.usage())
        return self._client.ask(role, request)

    def usage(self) -> Mapping[str, LLMUsage]:
        """Return what the task used, by role."""
        return self._client.usage()
