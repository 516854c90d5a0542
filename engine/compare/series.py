"""What a finished run is reduced to for a comparison: its fitness over what it cost."""

from __future__ import annotations

from typing import Any

from genesys_engine.engine.compare.gains import gains
from genesys_engine.engine.store import Store
from genesys_engine.engine.views.llm import llm_view


def series_of(store: Store) -> dict[str, Any]:
    """Return the fitness of a run over its training tokens, as JSON data.

    `costs` are the tokens trained on until each verification, `best_so_far` the gain in percent
    over the reference of the design that is best by then, `population` the mean gain of all
    designs that were verified by then; the reference is not counted among them.  A design's gain
    is the mean over its rungs, so that `best_so_far` falls where a leader climbs and disappoints.
    `best` and `mean` are their last values, None without any; `gains` the measures of
    `population`; `valid` of `made` children passed their check.  `used` is what a study can cap,
    `device` what the verifications ran on.
    """
    standing: dict[int, float] = {}
    spent = 0
    costs: list[int] = []
    best: list[float] = []
    mean: list[float] = []
    reference = store.meta("reference", 0)
    by_rung: dict[int, dict[int, float]] = {}
    devices: set[str] = set()
    for row in store.verifications():
        spent += row.tokens
        if device := row.facts.get("device"):
            devices.add(str(device))
        if row.fitness is None or row.design == reference or row.replicate:
            continue
        rungs = by_rung.setdefault(row.design, {})
        rungs[row.rung] = row.fitness
        standing[row.design] = sum(rungs.values()) / len(rungs)
        costs.append(spent)
        best.append(max(standing.values()))
        mean.append(sum(standing.values()) / len(standing))
    llm = llm_view(store).total
    children = [row for row in store.designs() if not row.operator.startswith("seed:")]
    measured = gains(mean)
    return {
        "costs": costs,
        "best_so_far": best,
        "population": mean,
        "spent": spent,
        "best": best[-1] if best else None,
        "mean": mean[-1] if mean else None,
        "gains": None if measured is None else measured.to_json(),
        "made": len(children),
        "valid": sum(row.accepted for row in children),
        "used": {
            "llm_tokens": llm.tokens,
            "llm_usd": llm.usd,
            "device_s": float(store.meta("device_s", 0.0)),
            "wall_s": float(store.meta("wall_s", 0.0)),
        },
        "device": sorted(devices),
    }
