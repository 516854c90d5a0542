"""What an implementation study shows, from its store alone: the table, the pairs, the lemmas."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from genesys_engine.engine.compare.caps import cap_reached, spent_by, tokens_of, usd_of
from genesys_engine.engine.compare.implementation import plan_jobs
from genesys_engine.engine.compare.lemmas import direct_calls, unitwise_calls
from genesys_engine.engine.compare.proposals import StudyProposal
from genesys_engine.engine.compare.statistics import (
    SEED,
    in_points,
    paired_rates,
    rate_interval,
    sentence,
    wilson,
)
from genesys_engine.engine.compare.store import Result
from genesys_engine.engine.config.schema import CompareArm, CompareSection

_WHAT = "valid designs"


def summarise(
    section: CompareSection,
    proposals: Sequence[StudyProposal],
    results: Sequence[Result],
    *,
    simulation: bool = False,
    cut: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the study as JSON data; numbers that nobody knows are None.

    Args:
        simulation: whether no language model was asked; the data then says so.
        cut: the arms that were ended in the middle of a proposal, as the store has them.
    """
    planned = Counter(job.arm.name for job in plan_jobs(section, proposals))
    strata = {each.name: each.stratum for each in proposals}
    own: dict[str, list[Result]] = {arm.name: [] for arm in section.arms}
    for result in results:
        if result.item in strata and result.arm in own:
            own[result.arm].append(result)
    arms = [
        _arm(arm, own[arm.name], planned[arm.name], strata)
        | {"cap": _cap(section, own[arm.name], arm.name, cut or {})}
        for arm in section.arms
    ]
    return {
        "study": "implementation",
        "simulation": simulation,
        "proposals": len(proposals),
        "published_in": section.published_in,
        # Arms may be given fewer proposals, but a study in which none met all is a part of one.
        "complete": all(arm["n"] == arm["planned"] for arm in arms)
        and any(arm["n"] == len(proposals) for arm in arms),
        "arms": arms,
        "comparisons": _comparisons(section, own, strata),
        "lemmas": _lemmas(section, own, strata),
    }


def _cap(
    section: CompareSection,
    results: Sequence[Result],
    arm: str,
    cut: Mapping[str, Mapping[str, Any]],
) -> str | None:
    """Return the cap that ended an arm, None where none did."""
    reached = cap_reached(section, spent_by(results, arm, cut))
    return reached or (cut[arm]["cap"] if arm in cut else None) or None


# --- an arm ------------------------------------------------------------------------------------


def _arm(
    arm: CompareArm, results: Sequence[Result], planned: int, strata: Mapping[str, int]
) -> dict[str, Any]:
    found = {"arm": arm.name, "implementer": arm.implementer, "planned": planned}
    by_stratum = [
        {"units": units, **_numbers([r for r in results if strata[r.item] == units])}
        for units in sorted({strata[result.item] for result in results})
    ]
    published = None if arm.published is None else arm.published.model_dump()
    return found | _numbers(results) | {"published": published, "strata": by_stratum}


def _numbers(results: Sequence[Result]) -> dict[str, Any]:
    """Return what is counted of some results; means are per proposal."""
    payloads = [result.payload for result in results]
    n, valid = len(payloads), sum(payload["valid"] for payload in payloads)
    failures = Counter(payload["failure"] for payload in payloads if not payload["valid"])
    repairs: Counter[str] = Counter()
    for payload in payloads:
        repairs.update(payload["repairs"])
    prices = [usd_of(payload) for payload in payloads]
    calls = [sum(role["calls"] for role in p["usage"].values()) for p in payloads]
    tokens = sum(map(tokens_of, payloads))
    return {
        "n": n,
        "valid": valid,
        "valid_rate": valid / n if n else None,
        "interval": wilson(valid, n).to_json(),
        "attempts": _mean([payload["attempts"] for payload in payloads]),
        "calls": _mean(calls),
        "tokens": _mean(list(map(tokens_of, payloads))),
        "tokens_total": tokens,
        "tokens_per_valid": tokens / valid if valid else None,
        "usd": None if None in prices else _mean([price or 0.0 for price in prices]),
        "usd_total": None if None in prices else sum(price or 0.0 for price in prices),
        "lines": _mean([payload["lines"] for payload in payloads if payload["valid"]]),
        "failures": dict(sorted(failures.items(), key=lambda item: (-item[1], item[0]))),
        "repairs": dict(sorted(repairs.items(), key=lambda item: (-item[1], item[0]))),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


# --- pairs of arms -----------------------------------------------------------------------------


def _comparisons(
    section: CompareSection, own: Mapping[str, Sequence[Result]], strata: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return every pair of arms over the proposals that both have met.

    Next to all proposals stand those that change three units or more, where unit-wise work is
    expected to matter; the sentence names the numbers of units that both arms have met.
    """
    found = []
    names = [arm.name for arm in section.arms]
    for first, second in itertools.combinations(names, 2):
        valid = [
            {result.item: bool(result.payload["valid"]) for result in own[name]}
            for name in (first, second)
        ]
        shared = sorted(valid[0].keys() & valid[1].keys())
        for label, least in (("all", 0), ("three units and more", 3)):
            items = [item for item in shared if strata[item] >= least]
            if label != "all" and len(items) in (0, len(shared)):
                continue
            pairs = [[rates[item] for item in items] for rates in valid]
            points = in_points(paired_rates(pairs[0], pairs[1]))
            interval = None if points.interval is None else points.interval.to_json()
            units = " and ".join(map(str, sorted({strata[item] for item in items})))
            what = _WHAT if label == "all" else f"{_WHAT} at {units} units"
            found.append(
                {
                    "first": first,
                    "second": second,
                    "proposals": label,
                    "n": points.n,
                    "difference": points.value if points.n else None,
                    "interval": interval,
                    "sentence": sentence(first, second, points, what),
                }
            )
    return found


# --- the lemmas --------------------------------------------------------------------------------


def _lemmas(
    section: CompareSection, own: Mapping[str, Sequence[Result]], strata: Mapping[str, int]
) -> dict[str, Any]:
    """Return the calls per valid design, measured and as Lemmas 1 and 2 predict them.

    p is measured on the first arm that works unit by unit: of the coder's replies, the share
    that passed the check, whatever the observer then stated of the unit.  Replies to one proposal
    are alike, so its interval is over proposals.  Measured calls are those of the coder, over the
    valid designs.
    """
    unitwise = next((arm.name for arm in section.arms if arm.implementer == "gp"), None)
    whole = next((arm.name for arm in section.arms if arm.implementer == "direct"), None)
    outcomes = [
        [entry["outcome"] for entry in result.payload["trace"] if entry["role"] == "coder"]
        for result in own.get(unitwise or "", ())
    ]
    counts = [(each.count("passed"), len(each)) for each in outcomes]
    replies = sum(n for _, n in counts)
    p = sum(passed for passed, _ in counts) / replies if replies else None
    interval = rate_interval(counts, SEED)
    rows = []
    for units in sorted(set(strata.values())):
        row: dict[str, Any] = {"units": units}
        for key, name in (("unitwise", unitwise), ("direct", whole)):
            results = [r for r in own.get(name or "", ()) if strata[r.item] == units]
            calls = sum(r.payload["usage"].get("coder", {}).get("calls", 0) for r in results)
            valid = sum(r.payload["valid"] for r in results)
            row[f"{key}_measured"] = calls / valid if valid else None
        row["unitwise_predicted"] = unitwise_calls(p, units) if p else None
        row["direct_predicted"] = direct_calls(p, units) if p else None
        rows.append(row)
    return {
        "unit_success_rate": p,
        "interval": None if interval is None else interval.to_json(),
        "replies": replies,
        "rows": rows,
    }
