"""What an arm of an implementation study used, and the caps that all arms have in common.

A cap ends an arm within one call: `ArmClient` refuses the next one.  The proposal that was cut
short is not recorded, since the arm has not failed at it; its replies are, so that a study that
is continued under a higher cap pays for none of them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from genesys_engine.engine.common.budget import Spending, first_spent
from genesys_engine.engine.compare.results import CutShort, Implemented, Result
from genesys_engine.engine.config.schema import ARM_CAPS, CompareSection
from genesys_engine.engine.llm.meters import add
from genesys_engine.plugins.api import LLM, BudgetSpent, LLMReply, LLMRequest, LLMUsage


class ArmSpent(BudgetSpent):
    """A cap of one arm is reached, and the others continue; the message is the cap's name."""


@dataclass(frozen=True)
class Spent:
    """What an arm used, of language models and of time."""

    llm: LLMUsage = field(default_factory=LLMUsage)
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(add(self.llm, other.llm), self.seconds + other.seconds)


def spent_by(
    results: Iterable[Result[Implemented]], arm: str, cut: Mapping[str, CutShort]
) -> Spent:
    """Return what an arm used on the proposals that it has met, and the time of those cut short.

    Of these the tokens and dollars are counted again when the replies are read from the record.
    """
    own = [Spent(each.made.used, each.seconds) for each in list(results) if each.arm == arm]
    return sum(own, start=Spent(seconds=cut.get(arm, CutShort()).seconds))


def cap_reached(section: CompareSection, spent: Spent) -> str | None:
    """Return the name of the cap that ends an arm, None while it may continue."""
    hours = section.wall_hours
    return first_spent(
        (
            Spending("compare.tokens", spent.llm.tokens, section.tokens),
            Spending("compare.usd", spent.llm.usd, section.usd),
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
