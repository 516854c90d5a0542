"""Rebuild the state of a run from its store: the next decision is what it would have been."""

from __future__ import annotations

from genesys_engine.engine.finals import is_fresh
from genesys_engine.engine.fitness import Measure
from genesys_engine.engine.state import Standing, State
from genesys_engine.engine.store import Store

SEED_OPERATOR = "seed:"


def restore(store: Store, state: State, *, reference_seed: str, measure: Measure) -> None:
    """Fill an empty `state` with what `store` holds."""
    _designs(store, state, reference_seed)
    _verifications(store, state, measure)
    _tasks(store, state)
    _queues(state)
    if (snapshot := store.meta("state")) is not None:
        state.restore(snapshot)


def _designs(store: Store, state: State, reference_seed: str) -> None:
    counts = state.counts
    for row in store.designs():
        counts.next_design = row.id + 1
        state.known[row.digest] = row.id
        if not row.accepted:
            continue
        if row.fingerprint:
            state.known[row.fingerprint] = row.id
        seed = row.operator.startswith(SEED_OPERATOR)
        counts.accepted += 1
        counts.children_accepted += not seed
        state.standings[row.id] = Standing(row.id, seed, row.parameters or 0.0, row.flops or 0.0)
        if row.operator == SEED_OPERATOR + reference_seed:
            state.reference = row.id


def _verifications(store: Store, state: State, measure: Measure) -> None:
    """Measure again what was measured, in the same order: each gain is what it was."""
    for row in store.verifications():
        state.counts.next_verification = row.id + 1
        if row.fitness is None:
            continue
        reading = measure.read(row.scores, row.controls, base=row.design == state.reference)
        measured = state.measure(reading, row.design, row.rung, row.replicate)
        if row.replicate == 0 and measured is not None:
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
        state.verifications_in_flight[rung] += not row.applied
        if is_fresh(row.payload["replicate"]):
            state.finals.issued += 1
            continue
        state.ladder.used[rung] += 1
        state.reference_issued[rung] += design == state.reference
        if row.payload["replicate"] == 0:
            state.standings[design].issued = rung


def _queues(state: State) -> None:
    for standing in state.standings.values():
        if standing.issued < 0:
            state.waiting.append(standing.design)
        elif standing.rung == standing.issued:
            state.climbing[standing.rung].add(standing.design)
