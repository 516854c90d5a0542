"""How many calls a design takes by the paper's two lemmas, from the success rate of one unit.

Source: Genesys, arXiv 2506.20249, Lemmas 1 and 2.
"""

from __future__ import annotations

import math


def direct_calls(p: float, n: int) -> float:
    """Return the expected calls until one reply has all `n` units right: 1 / p^n (Lemma 1).

    Args:
        p: probability that one unit comes out right, 0 to 1.
    """
    return math.inf if p <= 0 else p**-n


def unitwise_calls(p: float, n: int) -> float:
    """Return the expected calls with each of `n` units tried by itself: n / p (Lemma 2)."""
    return math.inf if p <= 0 else n / p
