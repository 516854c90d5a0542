"""The shares of a budget at which a person is warned, for budgets of every kind."""

from __future__ import annotations

WARN_AT = (50, 80)  # percent


def shares_passed(used: float, cap: float) -> list[int]:
    """Return the shares of `cap`, in percent, that `used` has reached."""
    return [percent for percent in WARN_AT if 100 * used >= percent * cap]
