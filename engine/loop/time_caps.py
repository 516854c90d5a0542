"""Caps on time: they end a run, or warn of it, and have no say in what the run decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from genesys_engine.engine.common.budget import Spending, first_spent, new_warnings
from genesys_engine.engine.store.event_types import BudgetWarning

HOUR_S = 3600.0


@dataclass(frozen=True)
class HourCap:
    """A key of `[budget]`, its cap in hours (None: none), and what tells the seconds used."""

    key: str
    hours: float | None
    used_s: Callable[[], float]

    def spending(self) -> Spending:
        """Return the seconds used so far, of those that the cap allows."""
        return Spending(
            self.key, self.used_s(), None if self.hours is None else HOUR_S * self.hours
        )


class HourCaps:
    """Tells when a cap on time is reached, and warns once at each of its shares before.

    What was passed before this session was reported then, and is not repeated.

    Args:
        tell: gets each warning, whose `used` and `cap` are in hours.
    """

    def __init__(self, *caps: HourCap, tell: Callable[[BudgetWarning], None]) -> None:
        self._caps = caps
        self._tell = tell
        self._warned: set[str] = set()
        new_warnings(self._warned, self._spendings())

    def reached(self) -> str | None:
        """Return the key of a cap that is reached."""
        now = self._spendings()
        if (spent := first_spent(now)) is not None:
            return f"budget.{spent}"
        for each in new_warnings(self._warned, now):
            used, cap = (each.used or 0.0) / HOUR_S, (each.cap or 0.0) / HOUR_S
            self._tell(BudgetWarning(budget=each.budget, used=round(used, 2), cap=cap))
        return None

    def _spendings(self) -> list[Spending]:
        return [cap.spending() for cap in self._caps]
