"""What an operator has to say of itself; `test_run_refusals.py` has the whole command."""

from __future__ import annotations

import pytest

from genesys_engine.engine.propose.checked_operator import checked_operator
from genesys_engine.gab.errors import PluginError


class Operator:
    def __init__(self, arity: object) -> None:
        self.arity = arity

    def __call__(self, parents: object, context: object) -> None: ...


@pytest.mark.parametrize("arity", [None, 2, (2, 1), (-1, 1), (1,), ("1", "2")])
def test_arity_is_the_fewest_and_the_most_parents(arity: object) -> None:
    with pytest.raises(PluginError, match="operator odd: ") as refused:
        checked_operator(Operator(arity), "odd")
    assert repr(arity) in str(refused.value)


def test_what_cannot_be_called_is_no_operator() -> None:
    with pytest.raises(PluginError, match="__call__"):
        checked_operator(object(), "odd")


@pytest.mark.parametrize("arity", [(1, 1), (0, 2)])
def test_who_says_it_is_taken_as_it_is(arity: object) -> None:
    operator = Operator(arity)
    assert checked_operator(operator, "odd") is operator
