"""One minus sign wherever a number is written for a person, and none before a zero."""

import pytest

from genesys_engine.engine.common.text import count, decimal, number, percent, rough, signed


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (decimal(-1.204), "−1.20"),
        (decimal(-0.004), "0.00"),
        (decimal(-0.0), "0.00"),
        (decimal(12.05, 1), "12.1"),
        (signed(0.5), "+0.50"),
        (signed(-0.5), "−0.50"),
        (signed(0.004), "0.00"),
        (percent(-6.587), "−6.59 %"),
        (number(-0.25), "−0.2500"),
        (number(-12_345.6), "−12,346"),
        (number(-1.5e-7), "−1.500e-07"),
        (rough(-0.024), "−0.024"),
        (rough(150.2), "150"),
        (count(-4_510_000), "−4.51M"),
    ],
)
def test_numbers_are_written_in_one_way(text, wanted):
    assert text == wanted
