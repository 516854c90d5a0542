"""The shares of a budget at which a person is warned, for budgets of every kind."""

from __future__ import annotations

WARN_AT = (50, 80)  # percent


def share_passed(used: float, cap: float) -> int:
    """Return the highest share of `cap`, in percent, that `used` has reached; 0 for none.

    Who warns once per share warns once where two are passed in one step.
    """
    return max((percent for percent in WARN_AT if 100 * used >= percent * cap), default=0)
