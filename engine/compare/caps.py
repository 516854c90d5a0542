"""The usage of an arm in an implementation study, and the caps that all arms share.

A cap ends an arm within one call: `ArmClient` refuses the next one.  The interrupted proposal is
not recorded, because the arm has not failed at it.  Its replies are, so that a study that resumes
under a higher cap does not pay for them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from genesys_engine.engine.common.budget import Spending, first_spent
from genesys_engine.engine.compare.results import CutShort, Implemented, Result
from genesys_engine.engine.config.schema import ARM_CAPS, CompareSection
from genesys_engine.engine.llm.spending import add
from genesys_engine.plugins.api import LLM, BudgetSpent, LLMReply, LLMRequest, LLMUsage


class ArmSpent(BudgetSpent):
    """A cap of one arm is reached, and the others continue; the message is the cap's name."""


@dataclass(frozen=True)
class Spent:
    """Usage of an arm: language models and time."""

    llm: LLMUsage = field(default_factory=LLMUsage)
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(add(self.llm, other.llm), self.seconds + other.seconds)


def spent_by(
    results: Iterable[Result[Implemented]], arm: str, cut: Mapping[str, CutShort]
) -> Spent:
    """Return the usage of an arm on finished proposals, and the time of interrupted ones.

    Tokens and dollars of interrupted proposals count when their replies are read from the record.
    """
    own = [Spent(each.made.used, each.seconds) for each in list(results) if each.arm == arm]
    return sum(own, start=Spent(seconds=cut.get(arm, CutShort()).seconds))


def cap_reached(section: CompareSection, spent: Spent) -> str | None:
    """Return the name of the cap that an arm has reached, None if it may continue."""
    hours = section.wall_hours
    return first_spent(
        (
            Spending("compare.tokens", spent.llm.tokens, section.tokens),
            Spending("compare.usd", spent.llm.usd, section.usd),
            Spending("compare.wall_hours", spent.seconds, None if hours is None else 3600 * hours),
        )
    )


def is_capped(section: CompareSection) -> bool:
    """Return whether the arms of an implementation study are capped."""
    return any(getattr(section, cap) is not None for cap in ARM_CAPS)


class ArmClient:
    """The language models as an arm sees them while it works on a proposal.

    Args:
        client: of the task.
        check: called with the task's usage so far; raises `ArmSpent` at a cap.
    """

    def __init__(self, client: LLM, check: Callable[[Mapping[str, LLMUsage]], None]) -> None:
        self._client = client
        self._check = check

    def ask(self, role: str, request: LLMRequest) -> LLMReply:
        """Return the reply; raises `ArmSpent` when a cap is reached."""
        self._check(self._client.usage())
        return self._client.ask(role, request)

    def usage(self) -> Mapping[str, LLMUsage]:
        """Return the task's usage by role."""
        return self._client.usage()
