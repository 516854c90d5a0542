"""What the Genesys paper (arXiv 2506.20249) says, next to an implementation study.

A table of Lemmas 1 and 2: how many calls a valid design takes, from the success rate of one unit;
and, where no language model was asked, the published rows of Table 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from genesys_engine.engine.compare.statistics import Interval, rate_interval
from genesys_engine.engine.compare.tables import interval, plain, share
from genesys_engine.plugins import api

SEED = 1
"""Of the bootstrap."""
TABLE_3 = {
    "gp": (0.92, 2.6),
    "no_unitwise": (0.73, 3.0),
    "no_planner": (0.91, 2.6),
    "no_observer": (0.89, 2.6),
    "no_checker": (0.30, 2.4),
    "direct": (0.06, 1.1),
}
"""Implementer -> published share of valid designs, of 100, and attempts."""

Study = Mapping[str, Any]
Table = dict[str, Any]


@api.hookimpl
def genesys_study_tables(study: Study) -> list[Table] | None:
    """Return the table of the lemmas, and in a simulation the published rows."""
    if study["study"] != "implementation":
        return None
    published = [arm for arm in study["arms"] if arm["implementer"] in TABLE_3]
    return [lemmas(study), *([next_to_published(published)] if study["simulation"] else [])]


def direct_calls(p: float, n: int) -> float:
    """Return the expected calls until one reply has all `n` units right: 1 / p^n (Lemma 1).

    Args:
        p: probability that one unit comes out right, 0 to 1.
    """
    return math.inf if p <= 0 else p**-n


def unitwise_calls(p: float, n: int) -> float:
    """Return the expected calls with each of `n` units tried by itself: n / p (Lemma 2)."""
    return math.inf if p <= 0 else n / p


def lemmas(study: Study) -> Table:
    """Return the coder's calls per valid design, measured and as the lemmas predict them.

    p is measured on the first arm that works unit by unit: of the coder's replies, the share
    that passed the check, whatever the observer then stated of the unit.  Replies to one proposal
    are alike, so its interval is over proposals.
    """
    unitwise, whole = (_results(study, implementer) for implementer in ("gp", "direct"))
    counts = [_passed(result["made"]) for result in unitwise]
    replies = sum(n for _, n in counts)
    p = sum(passed for passed, _ in counts) / replies if replies else None
    rows = []
    for n in sorted(set(study["units"].values())):
        measured = [_calls_per_valid(study, results, n) for results in (unitwise, whole)]
        predicted = (None, None) if not p else (unitwise_calls(p, n), direct_calls(p, n))
        cells = (measured[0], predicted[0], measured[1], predicted[1])
        rows.append([str(n), *map(plain, cells)])
    return {
        "title": _title(p, rate_interval(counts, SEED), replies),
        "columns": ["units", "unit by unit", "predicted N/p", "whole block", "predicted 1/p^N"],
        "rows": rows,
    }


def _title(p: float | None, ends: Interval | None, replies: int) -> str:
    title = (
        "Coder's calls per valid design, measured and as lemmas 1 and 2 of arXiv 2506.20249 predict"
        " them"
    )
    if p is None:
        return title
    around = "" if ends is None else f" ({interval(ends)} %)"
    of = f"of {replies} unit replies that passed the check"
    return f"{title}; p = {share(p)}{around}, the share {of}"


def _results(study: Study, implementer: str) -> Sequence[Mapping[str, Any]]:
    """Return the results of the first arm with this implementer."""
    named = (arm["arm"] for arm in study["arms"] if arm["implementer"] == implementer)
    first = next(named, None)
    return [result for result in study["results"] if result["arm"] == first]


def _passed(made: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many of the coder's replies passed the check, and how many there are."""
    outcomes = [entry["outcome"] for entry in made["trace"] if entry["role"] == "coder"]
    return outcomes.count("passed"), len(outcomes)


def _calls_per_valid(study: Study, results: Sequence[Mapping[str, Any]], n: int) -> float | None:
    made = [result["made"] for result in results if study["units"][result["item"]] == n]
    valid = sum(each["valid"] for each in made)
    calls = sum(each["usage"].get("coder", {}).get("calls", 0) for each in made)
    return calls / valid if valid else None


def next_to_published(arms: Sequence[Mapping[str, Any]]) -> Table:
    """Return what was simulated next to what was published of the same arms."""
    rows = []
    for arm in arms:
        rate, attempts = TABLE_3[arm["implementer"]]
        simulated = (share(arm["valid_rate"]), interval(Interval(*arm["interval"])))
        rows.append([arm["arm"], *simulated, share(rate), plain(arm["attempts"]), plain(attempts)])
    return {
        "title": "SIMULATION next to the published study (arXiv 2506.20249, Table 3)",
        "columns": ["arm", "simulated valid", "95 % interval", "published valid",
                    "simulated attempts", "published attempts"],
        "rows": rows,
    }  # fmt: skip
