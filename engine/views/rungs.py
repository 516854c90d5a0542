"""Do the lower rungs foretell the upper ones?  Rank correlations between neighbouring rungs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from genesys_engine.engine.common.text import signed
from genesys_engine.engine.score.significance import normal_quantile
from genesys_engine.engine.store.names import scale_names
from genesys_engine.engine.store.run_store import Store

FEWEST = 4
"""Fewer designs than this at both rungs say nothing; a correlation is not reported."""


@dataclass(frozen=True)
class RungAgreement:
    """How far two neighbouring rungs rank the same `n` designs alike.

    `spearman` with its 95 % interval and `kendall` (tau-b) are None below `FEWEST` designs, or
    where all gains of a rung are equal.  Only designs that climbed are at both rungs, and they
    resemble each other: the correlation over all designs would be higher.
    """

    lower: str
    upper: str
    n: int
    spearman: float | None = None
    low: float | None = None
    high: float | None = None
    kendall: float | None = None

    @property
    def foretells(self) -> bool | None:
        """Whether the interval lies above 0; None where there are too few designs to tell."""
        return None if self.low is None else self.low > 0

    @property
    def warning(self) -> str:
        """One sentence where the lower rung is not shown to predict the upper one, else ""."""
        if self.foretells is not False or None in (self.spearman, self.low, self.high):
            return ""
        assert self.spearman is not None
        assert self.low is not None
        assert self.high is not None
        verb = "does not predict" if self.high <= 0 else "is not shown to predict"
        return (
            f"{self.lower} {verb} {self.upper}: rank correlation {signed(self.spearman)}"
            f" ({signed(self.low)} to {signed(self.high)}) over {self.n} designs;"
            " promote more designs, or train longer at the lower rung"
        )

    def to_json(self) -> dict[str, object]:
        """Return it as the command line gives it out."""
        return {**asdict(self), "foretells": self.foretells, "warning": self.warning}


def rung_agreements(store: Store) -> list[RungAgreement]:
    """Return one entry for each pair of neighbouring rungs, lowest first."""
    gains = rung_gains(store)
    scales = scale_names(store)
    found = []
    for rung in range(len(scales) - 1):
        both = sorted(gains[rung].keys() & gains[rung + 1].keys())
        below, above = ([gains[r][design] for design in both] for r in (rung, rung + 1))
        found.append(_agreement(scales[rung], scales[rung + 1], below, above))
    return found


def rung_gains(store: Store) -> list[dict[int, float]]:
    """Return per rung design -> gain in percent, of the trainings that rank designs."""
    gains: list[dict[int, float]] = [{} for _ in scale_names(store)]
    out = store.disqualified()
    for row in store.verifications():
        if row.replicate == 0 and row.fitness is not None and row.design not in out:
            gains[row.rung][row.design] = row.fitness
    return gains


def places(store: Store, design: int) -> list[tuple[str, int, int]]:
    """Return (scale, place, designs) of a design at each rung where it was ranked."""
    found = []
    for scale, gains in zip(scale_names(store), rung_gains(store), strict=True):
        if design in gains:
            better = sum(gain > gains[design] for gain in gains.values())
            found.append((scale, better + 1, len(gains)))
    return found


def _agreement(
    lower: str, upper: str, below: Sequence[float], above: Sequence[float]
) -> RungAgreement:
    n = len(below)
    if n < FEWEST or len(set(below)) < 2 or len(set(above)) < 2:
        return RungAgreement(lower, upper, n)
    from scipy.stats import kendalltau, spearmanr

    rho = float(spearmanr(below, above).statistic)
    low, high = _interval(rho, n)
    tau = float(kendalltau(below, above).statistic)
    return RungAgreement(lower, upper, n, rho, low, high, tau)


def _interval(rho: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of Spearman's rho: Fisher's z with the variance of Bonett and
    Wright (2000, Psychometrika 65, eq. 4): (1 + rho^2 / 2) / (n - 3)."""
    z = math.atanh(max(-0.999999, min(0.999999, rho)))
    half = normal_quantile() * math.sqrt((1 + rho * rho / 2) / (n - 3))
    return math.tanh(z - half), math.tanh(z + half)
