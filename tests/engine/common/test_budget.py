"""One rule for every budget: what a cap allows, when it is reached, and when that is said."""

from __future__ import annotations

import pytest

from genesys_engine.engine.common.budget import Spending, first_spent, new_warnings


@pytest.mark.parametrize(
    ("used", "cap", "spent", "room"),
    [
        (0, None, False, 10**9),
        (None, None, False, 10**9),
        (9, 10, False, 1),
        (10, 10, True, 0),
        (11, 10, True, None),
        (None, 10, True, None),  # a price was unknown: no cap in dollars allows more
    ],
)
def test_a_cap_allows_what_fits_to_the_last_bit(
    used: float | None, cap: float | None, spent: bool, room: int | None
) -> None:
    budget = Spending("x", used, cap)
    assert budget.is_spent is spent
    assert budget.allows(0) is (room is not None)
    if room is not None:
        assert budget.allows(room)
        assert budget.allows(room + 1) is (cap is None)


def test_the_first_budget_that_is_used_up_is_named() -> None:
    tokens, usd = Spending("tokens", 5, 10), Spending("usd", 3.0, 2.0)
    assert first_spent([tokens, usd, Spending("hours", 9, 9)]) == "usd"
    assert first_spent([tokens]) is None


def test_each_share_of_each_budget_is_said_once() -> None:
    said: set[str] = set()
    found = [
        (each.budget, each.used)
        for used in (4, 5, 6, 8, 10, 12)
        for each in new_warnings(said, [Spending("a", used, 10), Spending("b", used, 100)])
    ]
    assert found == [("a", 5), ("a", 8)]
    assert new_warnings(said, [Spending("b", 90, 100)]) == [Spending("b", 90, 100)]
    assert new_warnings(said, [Spending("c", None, 1), Spending("d", 1, None)]) == []
