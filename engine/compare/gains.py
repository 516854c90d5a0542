"""What a run gained over its generations, as numbers of one series.

Source of the measures: Genesys, arXiv 2506.20249, evolution study (end gain, peak gain,
volatility, Sharpe ratio and maximum drawdown of generational fitness).  What a generation is here
stands in `series_of`.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

ROUNDING = 1e-9  # of the largest step


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


def area_under(costs: Sequence[float], best: Sequence[float], until: float) -> float | None:
    """Return the mean height of a best-so-far curve from cost 0 to the cost `until`.

    The curve is a staircase: `best[i]` holds from `costs[i]`, which never falls, to the next
    point; before the first one it is 0, as good as the reference.  None where `until` is 0.
    """
    if until <= 0:
        return None
    steps = zip(itertools.pairwise((*costs, until)), best, strict=True)
    return sum(max(0, min(end, until) - start) * height for (start, end), height in steps) / until
