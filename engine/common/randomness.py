"""Randomness that can be repeated: one generator per decision, split from the run's seed.

No decision shares a generator with another, so none depends on what was drawn, or finished,
before it.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_GLOBAL = threading.Lock()


def derived_seed(seed: int, purpose: str, index: int) -> int:
    """Return 63 bits that depend on (seed, purpose, index) alone."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, purpose: str, index: int) -> random.Random:
    """Return the generator of one decision."""
    return random.Random(derived_seed(seed, purpose, index))


@contextmanager
def as_global_random(rng: random.Random) -> Iterator[None]:
    """Let code that draws from the module `random` (DEAP's tools) draw from `rng` instead.

    The state is swapped in and out under a lock; `rng` advances by what was drawn.
    """
    with _GLOBAL:
        saved = random.getstate()
        random.setstate(rng.getstate())
        try:
            yield
        finally:
            rng.setstate(random.getstate())
            random.setstate(saved)
