"""Caps on time: they end a run, or warn of it, and have no say in what the run decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from genesys_engine.engine.common.budget_shares import share_passed

HOUR_S = 3600.0


@dataclass(frozen=True)
class HourCap:
    """A key of `[budget]`, its cap in hours (None: none), and what tells the seconds used."""

    key: str
    hours: float | None
    used_s: Callable[[], float]


class HourCaps:
    """Tells when a cap on time is reached, and warns once at each of its shares before.

    What was passed before this session was said then, and is not said again.

    Args:
        tell: gets `budget`, `used` and `cap`, both in hours.
    """

    def __init__(self, *caps: HourCap, tell: Callable[[Mapping[str, str | float]], None]) -> None:
        self._caps = [(cap, cap.hours, {0, _passed(cap)}) for cap in caps if cap.hours]
        self._tell = tell

    def reached(self) -> str | None:
        """Return the key of a cap that is reached."""
        for cap, hours, told in self._caps:
            if cap.used_s() >= HOUR_S * hours:
                return f"budget.{cap.key}"
            percent = _passed(cap)
            if percent not in told:
                told.add(percent)
                used = round(cap.used_s() / HOUR_S, 2)
                self._tell({"budget": cap.key, "used": used, "cap": hours})
        return None


def _passed(cap: HourCap) -> int:
    return share_passed(cap.used_s(), HOUR_S * (cap.hours or 0.0))
