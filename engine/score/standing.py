"""Whether a difference exceeds the noise, as one word.

Each standing has the same word everywhere: on the terminal, in the report, in a model card and in
JSON.
"""

from __future__ import annotations

from genesys_engine.engine.score.significance import SIGMAS

REFERENCE, BETTER, WORSE = "reference", "better", "worse"
NO_DIFFERENCE, NOT_MEASURED = "within noise", "noise not measured"


def standing(difference: float, sigma: float | None) -> str:
    """Return whether a difference exceeds `SIGMAS` times its noise (None: unknown noise)."""
    if sigma is None:
        return NOT_MEASURED
    return interval_standing(difference - SIGMAS * sigma, difference + SIGMAS * sigma)


def interval_standing(low: float | None, high: float | None) -> str:
    """Return whether the interval around a difference excludes 0 (None: no interval)."""
    if low is None or high is None:
        return NOT_MEASURED
    if low <= 0 <= high:
        return NO_DIFFERENCE
    return BETTER if low > 0 else WORSE


def outcome(word: str, whom: str) -> str:
    """Return a standing relative to a rival: `better than gpt`, `within noise of gpt`."""
    links = {BETTER: "than", WORSE: "than", NO_DIFFERENCE: "of", NOT_MEASURED: "against"}
    return "the reference" if word == REFERENCE else f"{word} {links[word]} {whom}"
