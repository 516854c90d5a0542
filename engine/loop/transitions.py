"""What a record does to the state: one function for each kind of record.

A run that continues calls them with what it has just written, a run that is resumed with what its
tables hold, so that both stand in the same state.
"""

from __future__ import annotations

from collections.abc import Mapping

from genesys_engine.engine.jobs.tasks import ConfirmTask, DesignTask, VerifyTask
from genesys_engine.engine.select.standing import Standing
from genesys_engine.engine.select.state import State
from genesys_engine.engine.store.names import seed_name
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import (
    ConfirmationRow,
    DesignRow,
    TaskRow,
    VerificationRow,
)
from genesys_engine.gab import library


def issue(state: State, row: TaskRow) -> None:
    """Count a task that was decided: it is running from now on."""
    state.counts.next_seq = row.seq + 1
    state.in_flight.append(row.seq)
    match row.task:
        case DesignTask() as task:
            child = task.seed is None
            state.counts.seeds_issued += not child
            state.counts.variations_issued += child
            _count_designs_in_flight(state, task, 1)
        case ConfirmTask(design=design):
            state.confirmations.begin(design)
            state.place(design)
        case VerifyTask(design, rung, replicate):
            _issue_verification(state, design, rung, replicate)


def settle(state: State, row: TaskRow) -> None:
    """Take a task from those running: its result enters the state."""
    state.in_flight.remove(row.seq)
    match row.task:
        case DesignTask() as task:
            _count_designs_in_flight(state, task, -1)
        case ConfirmTask(design=design):
            state.confirmations.under_way.discard(design)
        case VerifyTask(rung=rung):
            state.verifications_in_flight[rung] -= 1


def enter_design(state: State, row: DesignRow, reference_seed: str, place: str = "") -> None:
    """Let a design enter the run: a rejected one is known, an accepted one waits for its turn.

    Args:
        place: the interface of the place of its parent that was changed, "" where it is not known.
    """
    counts = state.counts
    counts.next_design = row.id + 1
    state.known[row.digest] = row.id
    name = seed_name(row.operator)
    if name is None:
        state.credit.made(row.id, row.operator, place, row.parents, failed=not row.accepted)
    if not row.accepted:
        return
    if row.fingerprint:
        state.known[row.fingerprint] = row.id
    state.standings[row.id] = Standing(
        row.id,
        name is not None,
        row.parameters or 0.0,
        row.flops or 0.0,
        parents=row.parents,
        trusted=name in library.design_names(),
    )
    state.confirmations.inherit(row.id, row.parents)
    state.waiting.append(row.id)
    counts.accepted += 1
    counts.children_accepted += name is None
    if name == reference_seed:
        state.reference = row.id


def enter_verification(state: State, row: VerificationRow, objectives: Mapping[str, float]) -> None:
    """Note that a verification is done, and what it gained where it ranks its design.

    Args:
        objectives: the gains in the metrics that the selector weighs next to the fitness.
    """
    state.counts.next_verification = row.id + 1
    if is_fresh(row.replicate):
        if is_of_finals(state, row.rung):
            state.finals.done.add((row.design, row.replicate))
        return
    if row.replicate == 0 and row.rung == 0:
        state.credit.measured(row.design, row.fitness)
    is_out = row.design in state.confirmations.disqualified
    if row.fitness is not None and row.replicate == 0 and not is_out:
        state.standings[row.design].record(row.rung, row.fitness, objectives)


def enter_confirmation(state: State, row: ConfirmationRow) -> list[int]:
    """Let a design stand or disqualify it; return the descendants that are in question then."""
    if row.problem:
        return state.disqualify(row.design)
    passed = state.confirmations.passed
    passed[row.design] = max(row.rung, passed.get(row.design, -1))
    return []


def is_of_finals(state: State, rung: int) -> bool:
    """Tell whether a fresh training is of these finals, not of those before a further rung."""
    return rung == len(state.ladder.caps) - 1


def _count_designs_in_flight(state: State, task: DesignTask, by: int) -> None:
    state.counts.designs_in_flight += by
    if task.seed is None:
        state.counts.children_in_flight += by


def _issue_verification(state: State, design: int, rung: int, replicate: int) -> None:
    state.verifications_in_flight[rung] += 1
    if is_fresh(replicate):
        if is_of_finals(state, rung):
            state.finals.issued.add((design, replicate))
        return
    state.ladder.spend(rung)
    if design == state.reference:
        state.reference_issued[rung] += 1
    if replicate == 0:
        if rung == 0:
            state.waiting.remove(design)
        state.standings[design].issued = rung
        state.place(design)
