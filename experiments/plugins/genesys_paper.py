"""What the Genesys paper (arXiv 2506.20249) predicts, publishes and measures, next to a study.

Implementation studies get a table of Lemmas 1 and 2 (the calls that a valid design takes, from the
success rate of one unit) and, where no language model was asked, the published rows of Table 3.
Evolution studies get the paper's measures of generational fitness.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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
MEASURES = ("end", "peak", "volatility", "sharpe", "drawdown")
ROUNDING = 1e-9  # of the largest step

Study = Mapping[str, Any]
Table = dict[str, Any]


@api.hookimpl
def genesys_study_tables(study: Study) -> list[Table]:
    """Return the tables of a study of either kind."""
    if study["study"] == "evolution":
        return [by_generations(study)]
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


# --- evolution studies ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Gains:
    """Measures of the fitness of generations, in its own unit (percent of the reference).

    `volatility` is the standard deviation of the differences between neighbours, `sharpe` their
    mean over it; both None where there are too few, and `sharpe` where nothing varies.
    `drawdown` is the deepest fall below an earlier peak, at most 0.
    """

    end: float
    peak: float
    volatility: float | None
    sharpe: float | None
    drawdown: float


def gains(series: Sequence[float]) -> Gains | None:
    """Return the measures of a series; None below two values.  Gains count from the first one."""
    if len(series) < 2:
        return None
    steps = [after - before for before, after in itertools.pairwise(series)]
    volatility = statistics.stdev(steps) if len(steps) > 1 else None
    # Equal steps differ by rounding, and no ratio may be made of that.
    varies = volatility is not None and volatility > ROUNDING * max(map(abs, steps))
    sharpe = statistics.fmean(steps) / volatility if volatility and varies else None
    peak, drawdown = series[0], 0.0
    for value in series:
        peak = max(peak, value)
        drawdown = min(drawdown, value - peak)
    return Gains(series[-1] - series[0], max(series) - series[0], volatility, sharpe, drawdown)


def by_generations(study: Study) -> Table:
    """Return the measures of each arm, means over its runs."""
    rows = []
    for arm in study["arms"]:
        found = [gains(run["generations"]) for run in arm["runs"]]
        measured = [asdict(each) for each in found if each is not None]
        rows.append([arm["arm"], *(_mean(measured, key, arm["n"]) for key in MEASURES)])
    return {
        "title": "The population's mean gain by generations, means over seeds (arXiv 2506.20249)",
        "columns": ["arm", "gain", "peak gain", "volatility", "Sharpe", "drawdown"],
        "rows": rows,
    }


def _mean(measured: Sequence[Mapping[str, float | None]], key: str, n: int) -> str:
    """Return a mean over runs; it says of how many where not all of them have the number."""
    known = [value for each in measured if (value := each[key]) is not None]
    of = f" (n = {len(known)})" if 0 < len(known) < n else ""
    return plain(statistics.fmean(known) if known else None, 2) + of
