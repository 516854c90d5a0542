"""What each operator did: the children it made, and what they gained over their parents."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from genesys_engine.engine.score import noise_floor, standing
from genesys_engine.engine.score.significance import SIGMAS, mean_half_width
from genesys_engine.engine.store.event_types import DesignDuplicate
from genesys_engine.engine.store.names import seed_name
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import DesignRow, Store

BETTER, WORSE, NO_DIFFERENCE = standing.BETTER, standing.WORSE, standing.NO_DIFFERENCE
TOO_FEW = "too few"


@dataclass(frozen=True)
class OperatorRow:
    """One operator.

    `compared` children were trained at the lowest rung, as was a parent of theirs; `gain` is the
    mean of what they gained over the better parent there, in points of percent over the
    reference, `low` and `high` its interval of 95 %; `verdict` says whether it shows a difference.
    Children without parents are compared with the reference.
    """

    operator: str
    proposed: int
    accepted: int
    rejected: int
    duplicates: int
    failed: int
    compared: int
    gain: float | None
    low: float | None
    high: float | None
    verdict: str

    def to_json(self) -> dict[str, object]:
        """Return the row as the command line gives it out."""
        return asdict(self)


@dataclass
class _Tally:
    """What is counted for one operator; `gains` and `parents` run parallel."""

    counts: Counter[str] = field(default_factory=Counter)
    gains: list[float] = field(default_factory=list)
    parents: list[int | None] = field(default_factory=list)


def operators(store: Store) -> list[OperatorRow]:
    """Return the operators of a run, the one whose children gained most first.

    The lowest rung is where every child is trained; above it are only those that did well, and
    comparing them would flatter an operator.  Parents are chosen because they did well, some by
    luck: that makes children look a little worse than they are.
    """
    designs = {row.id: row for row in store.designs()}
    gains, failed = _at_the_lowest_rung(store)
    floor = noise_floor.noise_floor(store)
    trainings = sum(
        row.design == floor.reference
        and row.rung == 0
        and row.fitness is not None
        and not is_fresh(row.replicate)
        for row in store.verifications()
    )
    tallies: dict[str, _Tally] = {}
    for row in designs.values():
        if seed_name(row.operator) is None:
            _count(tallies.setdefault(row.operator, _Tally()), row, gains, failed)
    for made in store.records(DesignDuplicate):
        tallies.setdefault(made.operator, _Tally()).counts["duplicates"] += 1
    lowest = floor.noise[0]
    one = None if lowest is None else lowest.one
    rows = [
        _row(name, tally, one, (floor.reference, trainings))
        for name, tally in tallies.items()
        if seed_name(name) is None
    ]
    return sorted(rows, key=lambda row: (row.gain is None, -(row.gain or 0.0), row.operator))


def _at_the_lowest_rung(store: Store) -> tuple[dict[int, float], set[int]]:
    """Return (design -> gain, designs that failed) of the first trainings at the lowest rung."""
    gains: dict[int, float] = {}
    failed: set[int] = set()
    out = store.disqualified()
    for row in store.verifications():
        if row.rung == 0 and row.replicate == 0 and row.design not in out:
            if row.fitness is None:
                failed.add(row.design)
            else:
                gains[row.design] = row.fitness
    return gains, failed


def _count(
    tally: _Tally, row: DesignRow, gains: Mapping[int, float], failed: Iterable[int]
) -> None:
    tally.counts["accepted" if row.accepted else "rejected"] += 1
    tally.counts["failed"] += row.id in failed
    if row.id not in gains:
        return
    known = [(gains[parent], parent) for parent in row.parents if parent in gains]
    if known or not row.parents:
        gain, parent = max(known, default=(0.0, None))
        tally.gains.append(gains[row.id] - gain)
        tally.parents.append(parent)


def _row(
    name: str, tally: _Tally, sigma: float | None, reference: tuple[int | None, int]
) -> OperatorRow:
    counts = {key: tally.counts[key] for key in ("accepted", "rejected", "duplicates", "failed")}
    proposed = counts["accepted"] + counts["rejected"] + counts["duplicates"]
    mean = statistics.fmean(tally.gains) if tally.gains else None
    half = None if mean is None else half_width(tally.gains, tally.parents, sigma, reference)
    low, high = (None, None) if half is None or mean is None else (mean - half, mean + half)
    return OperatorRow(
        operator=name,
        proposed=proposed,
        **counts,
        compared=len(tally.gains),
        gain=mean,
        low=low,
        high=high,
        verdict=_verdict(low, high),
    )


def half_width(
    gains: Sequence[float],
    parents: Sequence[int | None],
    sigma: float | None,
    reference: tuple[int | None, int],
) -> float | None:
    """Return half of the 95 % interval of the mean gain; None where nothing is known of it.

    Children of one parent share the noise of that parent's training, which their spread does not
    show: it is added, weighted by how many have it in common.  A single child has no spread, so
    two sigma count.

    Args:
        gains: of the children over their parents.
        parents: of the same children; None where it is the reference that they are compared with.
        sigma: the noise of one training, None where it was not measured.
        reference: the reference and how often it was trained: its noise is that of a mean.
    """
    n, (design, trainings) = len(gains), reference
    shared = Counter(design if parent is None else parent for parent in parents)
    common = (
        sum(
            (count / n) ** 2 / (max(1, trainings) if parent == design else 1)
            for parent, count in shared.items()
        )
        * (sigma or 0.0) ** 2
    )
    if n == 1:
        return None if sigma is None else SIGMAS * math.sqrt(sigma**2 + common)
    return mean_half_width(gains, shared=common)


def _verdict(low: float | None, high: float | None) -> str:
    return TOO_FEW if low is None else standing.interval_standing(low, high)
