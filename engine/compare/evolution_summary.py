"""What an evolution study shows, from its store alone: means over seeds, and pairs of arms.

A run that found nothing counts: the reference stands (see `series_of`), so that its best is 0 and
so is its area.  What such a run does not have, as a mean of its designs, is a mean over the other
runs, and the table says over how many.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from genesys_engine.engine.compare.evolution import items, refuse_older
from genesys_engine.engine.compare.gains import area_under
from genesys_engine.engine.compare.statistics import (
    SEED,
    mean_interval,
    paired_means,
    rate_interval,
    sentence,
)
from genesys_engine.engine.compare.store import Result
from genesys_engine.engine.config.schema import CompareArm, CompareSection

COMPARED = {
    "best": "best fitness",
    "mean": "mean fitness",
    "area": "area under the best so far",
}
_MEASURES = (*COMPARED, "end", "peak", "volatility", "sharpe", "drawdown")


def summarise_runs(section: CompareSection, results: Sequence[Result]) -> dict[str, Any]:
    """Return the study as JSON data; numbers that nobody knows are None.

    Raises:
        InputError: an older version stored it, with other measures.
    """
    refuse_older(results)
    wanted = items(section)
    own = {
        arm.name: {r.item: r.payload for r in results if r.arm == arm.name and r.item in wanted}
        for arm in section.arms
    }
    # One run may fail early: areas go up to the largest cost, a run that has ended keeps its best.
    spent = [payload["spent"] for runs in own.values() for payload in runs.values()]
    until = max(spent, default=0)
    arms = [_arm(arm, own[arm.name], len(wanted), until) for arm in section.arms]
    return {
        "study": "evolution",
        "simulation": False,
        "until_tokens": until,
        "complete": all(arm["n"] == arm["planned"] for arm in arms),
        "arms": arms,
        "comparisons": _comparisons(section, own, until),
    }


def _arm(
    arm: CompareArm, runs: Mapping[str, Mapping[str, Any]], planned: int, until: float
) -> dict[str, Any]:
    measured = {name: _measured(payload, until) for name, payload in runs.items()}
    columns = {
        key: [value for m in measured.values() if (value := m[key]) is not None]
        for key in _MEASURES
    }
    used = {
        key: [payload["used"][key] for payload in runs.values()]
        for key in ("llm_tokens", "llm_usd", "device_s", "wall_s")
    }
    children = [(payload["valid"], payload["made"]) for payload in runs.values()]
    valid, made = (sum(pair[i] for pair in children) for i in (0, 1))
    # Children of one run descend from each other: runs are drawn, not children.
    valid_interval = rate_interval(children, SEED)
    intervals = {key: mean_interval(values, SEED) for key, values in columns.items()}
    return {
        "arm": arm.name,
        "n": len(runs),
        "planned": planned,
        "valid_rate": valid / made if made else None,
        "valid_interval": None if valid_interval is None else valid_interval.to_json(),
        "used": {key: _mean_known(values) for key, values in used.items()}
        | {"training_tokens": _mean_known([payload["spent"] for payload in runs.values()])},
        "device": sorted({device for payload in runs.values() for device in payload["device"]}),
        "caps": dict(Counter(payload["cap"] for payload in runs.values() if payload["cap"])),
        "means": {key: fmean(values) if values else None for key, values in columns.items()},
        "known": {key: len(values) for key, values in columns.items()},
        "intervals": {k: None if v is None else v.to_json() for k, v in intervals.items()},
        "runs": [
            {
                "item": name,
                "costs": payload["costs"],
                "best_so_far": payload["best_so_far"],
                "generations": payload["generations"],
                **measured[name],
            }
            for name, payload in sorted(runs.items())
        ],
    }


def _mean_known(values: Sequence[float | None]) -> float | None:
    """Return the mean; None where there is nothing, or a number that nobody knows."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _measured(payload: Mapping[str, Any], until: float) -> dict[str, float | None]:
    """Return the numbers of one run."""
    found = payload["gains"] or dict.fromkeys(("end", "peak", "volatility", "sharpe", "drawdown"))
    area = area_under(payload["costs"], payload["best_so_far"], until)
    return {"best": payload["best"], "mean": payload["mean"], "area": area, **found}


def _comparisons(
    section: CompareSection, own: Mapping[str, Mapping[str, Mapping[str, Any]]], until: float
) -> list[dict[str, Any]]:
    """Return every pair of arms over the seeds that both have met, for each measure."""
    found = []
    for first, second in itertools.combinations([arm.name for arm in section.arms], 2):
        for key, what in COMPARED.items():
            pairs = [
                (_measured(own[first][item], until)[key], _measured(own[second][item], until)[key])
                for item in items(section)
                if item in own[first] and item in own[second]
            ]
            known = [(a, b) for a, b in pairs if a is not None and b is not None]
            difference = paired_means([a for a, _ in known], [b for _, b in known], SEED)
            interval = None if difference.interval is None else difference.interval.to_json()
            found.append(
                {
                    "first": first,
                    "second": second,
                    "measure": key,
                    "n": difference.n,
                    "difference": difference.value if difference.n else None,
                    "interval": interval,
                    "sentence": sentence(first, second, difference, what, digits=2),
                }
            )
    return found
