"""Rebuild the state of a run from its store: the next decision is what it would have been."""

from __future__ import annotations

from collections.abc import Mapping

from genesys_engine.engine.common.records import from_json
from genesys_engine.engine.loop import transitions
from genesys_engine.engine.score.finals import finals_in
from genesys_engine.engine.score.fitness import Measure
from genesys_engine.engine.select.state import Snapshot, State
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import Store


def restore(store: Store, state: State, *, reference_seed: str, measure: Measure) -> None:
    """Fill an empty `state` with what `store` holds."""
    places = store.places()
    for design in store.designs():
        transitions.enter_design(state, design, reference_seed, places.get(design.id, ""))
    _verifications(store, state, measure)
    since = store.meta("looks_from", 0)
    for confirmation in store.confirmations():
        if confirmation.problem or confirmation.seq >= since:
            transitions.enter_confirmation(state, confirmation)
    for task in store.tasks():
        transitions.issue(state, task)
        if task.applied:
            transitions.settle(state, task)
    if (snapshot := store.meta("state")) is not None:
        state.restore(from_json(Snapshot, snapshot), finals_in(snapshot))
    for placed in state.standings:
        state.place(placed)


def _verifications(store: Store, state: State, measure: Measure) -> None:
    """Measure again what was measured, in the same order: each gain is what it was."""
    for row in store.verifications():
        objectives: Mapping[str, float] = {}
        is_old = is_fresh(row.replicate) and not transitions.is_of_finals(state, row.rung)
        if row.fitness is not None and not is_old:
            reading = measure.read(row.scores, row.controls, base=row.design == state.reference)
            measured = state.measure(reading, row.design, row.rung, row.replicate)
            objectives = {} if measured is None else measured[1]
        transitions.enter_verification(state, row, objectives)
