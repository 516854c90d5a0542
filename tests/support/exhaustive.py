"""Marks what `make test` leaves to `make test-all`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def exhaustive(values: Iterable[Any], *, but: Collection[Any]) -> list[Any]:
    """Return parameters of a test, all of them marked `exhaustive` but these."""
    longer = pytest.mark.exhaustive
    return [pytest.param(value, marks=() if value in but else longer) for value in values]
