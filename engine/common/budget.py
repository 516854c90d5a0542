"""What may be used, of every kind: designs, trainings, tokens, dollars, hours; of a run or an arm.

One rule says what a cap still allows, when it is reached, and at which shares of it a person is
warned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

WARN_AT = (50, 80)  # percent


@dataclass(frozen=True)
class Spending:
    """What is used of one budget.

    Args:
        budget: what people call it; in most cases the key that sets the cap.
        used: None where nobody knows, since a price was unknown: it may be anything.
        cap: None for none.
    """

    budget: str
    used: float | None
    cap: float | None

    @property
    def is_spent(self) -> bool:
        """Whether the cap is reached."""
        return self.cap is not None and (self.used is None or self.used >= self.cap)

    def allows(self, more: float) -> bool:
        """Tell whether the cap leaves room for `more`, to the last bit of it."""
        return self.cap is None or (self.used is not None and self.used + more <= self.cap)

    @property
    def share(self) -> int:
        """The highest share of the cap, in percent, that is reached and warned of; 0 for none."""
        if self.cap is None or self.used is None:
            return 0
        used, cap = self.used, self.cap
        return max((percent for percent in WARN_AT if 100 * used >= percent * cap), default=0)


def first_spent(spendings: Iterable[Spending]) -> str | None:
    """Return the first budget whose cap is reached."""
    return next((each.budget for each in spendings if each.is_spent), None)


def new_warnings(said: set[str], spendings: Iterable[Spending]) -> list[Spending]:
    """Return what a person has to be warned of now, and note in `said` that it was reported.

    Each share of a cap is reported once; of two that are passed in one step the higher alone.
    """
    fresh = {f"{each.budget} {each.share}": each for each in spendings if each.share}
    found = [each for key, each in fresh.items() if key not in said]
    said.update(fresh)
    return found
