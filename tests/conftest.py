"""What every test needs."""

import sys

import pytest

UNTOUCHED = "genesys_engine.gab.checks.untouched"


@pytest.fixture(autouse=True)
def as_in_a_new_process() -> None:
    """Let checks in this process note torch's classes anew: imports of other tests change them."""
    if UNTOUCHED in sys.modules:
        sys.modules[UNTOUCHED].remember.cache_clear()
