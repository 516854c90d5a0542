"""Rebuild the state of a run from its store: the next decision is what it would have been."""

from __future__ import annotations

from genesys_engine.engine.score.fitness import Measure
from genesys_engine.engine.select.state import Standing, State
from genesys_engine.engine.store.names import seed_name
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import CONFIRM, DesignRow, Store
from genesys_engine.gab import library

SEED_OPERATOR = "seed:"


def restore(store: Store, state: State, *, reference_seed: str, measure: Measure) -> None:
    """Fill an empty `state` with what `store` holds."""
    _designs(store, state, reference_seed)
    _confirmations(store, state)
    _verifications(store, state, measure)
    _tasks(store, state)
    if (snapshot := store.meta("state")) is not None:
        state.restore(snapshot)
    _queues(state)
    state.reckon_records()


def standing_of(row: DesignRow) -> Standing:
    """Return the standing of an accepted design that was not verified yet."""
    name = seed_name(row.operator)
    return Standing(
        row.id,
        name is not None,
        row.parameters or 0.0,
        row.flops or 0.0,
        parents=row.parents,
        trusted=name in library.design_names(),
    )


def _designs(store: Store, state: State, reference_seed: str) -> None:
    counts = state.counts
    for row in store.designs():
        counts.next_design = row.id + 1
        state.known[row.digest] = row.id
        if not row.accepted:
            continue
        if row.fingerprint:
            state.known[row.fingerprint] = row.id
        standing = state.standings[row.id] = standing_of(row)
        counts.accepted += 1
        counts.children_accepted += not standing.seed
        if row.operator == SEED_OPERATOR + reference_seed:
            state.reference = row.id


def _confirmations(store: Store, state: State) -> None:
    looked_at, since = state.confirmations, store.meta("looks_from", 0)
    for row in store.confirmations():
        if row.problem:
            looked_at.disqualified.add(row.design)
        elif row.seq >= since:
            looked_at.passed[row.design] = max(row.rung, looked_at.passed.get(row.design, -1))
    for standing in state.standings.values():
        looked_at.inherit(standing.design, standing.parents)


def _verifications(store: Store, state: State, measure: Measure) -> None:
    """Measure again what was measured, in the same order: each gain is what it was."""
    for row in store.verifications():
        state.counts.next_verification = row.id + 1
        fresh = is_fresh(row.replicate)
        is_old = fresh and row.rung < len(state.ladder.caps) - 1
        if fresh and not is_old:
            state.finals.done.add((row.design, row.replicate))
        if row.fitness is None or is_old:
            continue
        reading = measure.read(row.scores, row.controls, base=row.design == state.reference)
        measured = state.measure(reading, row.design, row.rung, row.replicate)
        is_out = row.design in state.confirmations.disqualified
        if row.replicate == 0 and measured is not None and not is_out:
            state.standings[row.design].record(row.rung, row.fitness, measured[1])


def _tasks(store: Store, state: State) -> None:
    counts = state.counts
    for row in store.tasks():
        counts.next_seq = row.seq + 1
        if not row.applied:
            state.in_flight.append(row.seq)
        if row.kind == "design":
            child = row.payload["seed"] is None
            counts.seeds_issued += not child
            counts.variations_issued += child
            counts.designs_in_flight += not row.applied
            counts.children_in_flight += child and not row.applied
            continue
        rung, design = row.payload["rung"], row.payload["design"]
        if row.kind == CONFIRM:
            if not row.applied:
                state.confirmations.under_way.add(design)
            continue
        state.verifications_in_flight[rung] += not row.applied
        if is_fresh(row.payload["replicate"]):
            if rung == len(state.ladder.caps) - 1:  # else of finals before a further rung
                state.finals.issued.add((design, row.payload["replicate"]))
            continue
        state.ladder.used[rung] += 1
        state.reference_issued[rung] += design == state.reference
        if row.payload["replicate"] == 0:
            state.standings[design].issued = rung


def _queues(state: State) -> None:
    for standing in state.standings.values():
        if standing.issued < 0:
            state.waiting.append(standing.design)
        elif standing.rung == standing.issued and not state.confirmations.open(standing.design):
            state.climbing[standing.rung].add(standing.design)
