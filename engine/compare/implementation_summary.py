"""The summary of an implementation study: its arms, and comparisons of them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from genesys_engine.engine.common import records
from genesys_engine.engine.compare.caps import cap_reached, spent_by
from genesys_engine.engine.compare.implementation import plan_jobs
from genesys_engine.engine.compare.proposals import StudyProposal
from genesys_engine.engine.compare.results import CutShort, Implemented, Result
from genesys_engine.engine.compare.statistics import (
    Comparison,
    Interval,
    compared,
    in_points,
    paired_rates,
    wilson,
)
from genesys_engine.engine.compare.tables import Table
from genesys_engine.engine.config.schema import CompareArm, CompareSection

_WHAT = "valid designs"
Results = Sequence[Result[Implemented]]
NO_CUT: Mapping[str, CutShort] = {}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Statistics of some results; means are per proposal, None if unknown."""

    n: int
    valid: int
    valid_rate: float | None
    interval: Interval
    attempts: float | None
    calls: float | None
    tokens: float | None
    tokens_total: int
    tokens_per_valid: float | None
    usd: float | None
    usd_total: float | None
    lines: float | None
    failures: Mapping[str, int]
    repairs: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Stratum(Counts):
    """An arm on the proposals that change `units` units."""

    units: int


@dataclass(frozen=True, kw_only=True)
class ArmCounts(Counts):
    """An arm on the proposals that it has finished, of `planned`; `cap` is what ended it early."""

    arm: str
    implementer: str
    planned: int
    strata: tuple[Stratum, ...]
    cap: str | None


@dataclass(frozen=True)
class ImplementationSummary:
    """The summary of an implementation study; a `simulation` asked no language model.

    `tables` are added by plugins.
    """

    name: str
    study: str
    simulation: bool
    proposals: int
    complete: bool
    arms: tuple[ArmCounts, ...]
    comparisons: tuple[Comparison, ...]
    tables: tuple[Table, ...] = ()

    def with_tables(self, tables: Sequence[Table]) -> ImplementationSummary:
        """Return the summary with further tables, those of plugins."""
        return replace(self, tables=(*self.tables, *tables))

    def to_json(self) -> dict[str, object]:
        """Return the answer of `compare --json`."""
        return records.to_json(self)


def summarise(
    section: CompareSection,
    proposals: Sequence[StudyProposal],
    results: Results,
    *,
    name: str = "",
    simulation: bool = False,
    cut: Mapping[str, CutShort] = NO_CUT,
) -> ImplementationSummary:
    """Return the summary of a study.

    Args:
        name: of the study.
        simulation: whether no language model was asked.
        cut: the arms that were interrupted during a proposal.
    """
    planned = Counter(job.arm.name for job in plan_jobs(section, proposals))
    strata = {each.name: each.stratum for each in proposals}
    own: dict[str, list[Result[Implemented]]] = {arm.name: [] for arm in section.arms}
    for result in results:
        if result.item in strata and result.arm in own:
            own[result.arm].append(result)
    arms = tuple(
        _arm(arm, own[arm.name], planned[arm.name], strata, _cap(section, own[arm.name], arm, cut))
        for arm in section.arms
    )
    # Arms may be given fewer proposals, but a study in which none met all is a part of one.
    complete = all(arm.n == arm.planned for arm in arms)
    complete = complete and any(arm.n == len(proposals) for arm in arms)
    comparisons = _comparisons(section, own, strata)
    kind = "implementation"
    return ImplementationSummary(
        name, kind, simulation, len(proposals), complete, arms, comparisons
    )


def _cap(
    section: CompareSection, results: Results, arm: CompareArm, cut: Mapping[str, CutShort]
) -> str | None:
    """Return the cap that ended an arm, None if none did."""
    reached = cap_reached(section, spent_by(results, arm.name, cut))
    return reached or cut.get(arm.name, CutShort()).cap or None


# --- an arm ------------------------------------------------------------------------------------


def _arm(
    arm: CompareArm, results: Results, planned: int, strata: Mapping[str, int], cap: str | None
) -> ArmCounts:
    by_units = [
        Stratum(**vars(_counts([r for r in results if strata[r.item] == units])), units=units)
        for units in sorted({strata[result.item] for result in results})
    ]
    return ArmCounts(
        **vars(_counts(results)),
        arm=arm.name,
        implementer=arm.implementer,
        planned=planned,
        strata=tuple(by_units),
        cap=cap,
    )


def _counts(results: Results) -> Counts:
    made = [result.made for result in results]
    valid = sum(each.valid for each in made)
    tokens = [each.used.tokens for each in made]
    prices = [each.used.usd for each in made]
    known = [price for price in prices if price is not None]
    priced = len(known) == len(prices)
    repairs: Counter[str] = Counter()
    for each in made:
        repairs.update(each.repairs)
    return Counts(
        n=len(made),
        valid=valid,
        valid_rate=valid / len(made) if made else None,
        interval=wilson(valid, len(made)),
        attempts=_mean([each.attempts for each in made]),
        calls=_mean([each.used.calls for each in made]),
        tokens=_mean(tokens),
        tokens_total=sum(tokens),
        tokens_per_valid=sum(tokens) / valid if valid else None,
        usd=_mean(known) if priced else None,
        usd_total=sum(known) if priced else None,
        lines=_mean([each.lines or 0 for each in made if each.valid]),
        failures=_by_count(Counter(each.failure for each in made if not each.valid)),
        repairs=_by_count(repairs),
    )


def _by_count(counted: Counter[str]) -> dict[str, int]:
    """Return the counts, most frequent first, then by name."""
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


# --- pairs of arms -----------------------------------------------------------------------------


def _comparisons(
    section: CompareSection, own: Mapping[str, Results], strata: Mapping[str, int]
) -> tuple[Comparison, ...]:
    """Return the comparison of every pair of arms on the proposals that both have finished.

    There is a second comparison on the proposals that change three units or more, where working
    unit by unit should matter; its sentence names the numbers of units that both arms have
    finished.
    """
    found = []
    for first, second in itertools.combinations([arm.name for arm in section.arms], 2):
        valid = [{r.item: r.made.valid for r in own[name]} for name in (first, second)]
        shared = sorted(valid[0].keys() & valid[1].keys())
        for label, least in (("all", 0), ("three units and more", 3)):
            items = [item for item in shared if strata[item] >= least]
            if label != "all" and len(items) in (0, len(shared)):
                continue
            pairs = [[rates[item] for item in items] for rates in valid]
            points = in_points(paired_rates(pairs[0], pairs[1]))
            units = " and ".join(map(str, sorted({strata[item] for item in items})))
            what = _WHAT if label == "all" else f"{_WHAT} at {units} units"
            found.append(compared(first, second, points, what, proposals=label))
    return tuple(found)
