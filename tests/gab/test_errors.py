"""Errors of others, told in a line."""

import pytest

from genesys_engine.gab.errors import in_a_line


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("one\n  two"), "ValueError: one two"),
        (ConnectionError(), "ConnectionError"),
        (ConnectionError("\n"), "ConnectionError"),
        (ValueError("x" * 1000), "ValueError: ..."),
        (ValueError("x " * 1000), "ValueError: " + "x " * 142 + "..."),
        (ValueError("x" * 280 + " sk-secret-0123456789"), "ValueError: " + "x" * 280 + " ..."),
    ],
)
def test_an_error_of_others_is_reported_in_one_line(error, told):
    assert in_a_line(error) == told
