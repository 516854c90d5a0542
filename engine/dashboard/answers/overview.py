"""The list of runs and studies, and how far one run is."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from genesys_engine.engine.common.records import plain
from genesys_engine.engine.dashboard.catalogue import RUN, Entry
from genesys_engine.engine.dashboard.watch import Moment, problem_of
from genesys_engine.engine.store.names import scale_names
from genesys_engine.engine.views.finals import finals_view
from genesys_engine.engine.views.leaderboard import LeaderboardRow, leaderboard_rows
from genesys_engine.engine.views.remarks import all_behind_control
from genesys_engine.engine.views.status import Status, run_state, status
from genesys_engine.engine.views.timing import elapsed_s
from genesys_engine.gab.errors import GenesysError

_COMPARED = 50
"""So many of the best are looked at for a control that beats them all."""


@dataclass(frozen=True)
class Listed:
    """A run or a study in the list; `share` is of the verifications planned, `gain` in percent."""

    key: str
    kind: str
    name: str
    folder: str
    study: str = ""
    state: str = ""
    accepted: int = 0
    planned: int = 0
    verifications: int = 0
    verifications_planned: int = 0
    best: str = ""
    best_design: int | None = None
    gain: float | None = None
    elapsed_s: float = 0.0
    remaining_s: float | None = None
    problem: str = ""


def listed(entries: Sequence[Entry]) -> list[dict[str, object]]:
    """Return a line for each run and study; one that cannot be read says why."""
    return [asdict(_listed(entry)) for entry in entries]


def _listed(entry: Entry) -> Listed:
    about = Listed(entry.key, entry.kind, entry.folder.name, str(entry.folder), entry.study)
    if entry.kind != RUN:
        return about
    try:
        with entry.watch.moment() as moment:
            return _of_run(entry, moment)
    except (GenesysError, sqlite3.DatabaseError, OSError) as error:
        problem = problem_of(error)["message"]
        return replace(about, state="unreadable", problem=problem)


def _of_run(entry: Entry, moment: Moment) -> Listed:
    run, best = run_state(moment), moment.run.best
    return Listed(
        key=entry.key,
        kind=entry.kind,
        name=run.name or entry.folder.name,
        folder=str(entry.folder),
        study=entry.study,
        state=run.state,
        accepted=run.accepted,
        planned=run.designs_planned + len(run.names),
        verifications=run.verifications,
        verifications_planned=run.planned,
        best="" if best is None else run.label(best.design),
        best_design=None if best is None else best.design,
        gain=None if best is None else best.fitness,
        elapsed_s=elapsed_s(moment, run, time.time()),
        remaining_s=run.remaining_s(),
    )


def run_status(moment: Moment) -> dict[str, object]:
    """Return how far a run is, what its workers do, what to be warned of, and the latest events."""
    found = status(moment, now=time.time())
    return {
        **found.to_json(),
        "event": moment.event,
        "reference": moment.run.reference,
        "scales": list(scale_names(moment)),
        "folder": str(moment.folder),
        "caveats": list(_caveats(moment, found)),
        "causes": dict(moment.run.causes.most_common(5)),
        "log": [plain(line) for line in moment.log],
    }


def _caveats(moment: Moment, found: Status) -> Iterator[str]:
    """Yield what a reader has to know before anything else."""
    if found.llm_unreachable:
        yield f"No language model answers: {found.llm_unreachable}"
    if found.workers_lost:
        yield f"{found.workers_lost} tasks were lost with their worker and are done again."
    yield from (f"Budget: {warning}." for warning in found.warnings)
    for rows in _best_of_each_rung(moment):
        yield from (f"Even {sentence}." for sentence in all_behind_control(rows))


def _best_of_each_rung(moment: Moment) -> Iterator[list[LeaderboardRow]]:
    ranked = moment.leaderboard(_COMPARED)
    if ranked:
        top = [row for row in ranked if row.rung == ranked[0].rung]
        yield leaderboard_rows(moment, top)


def run_finals(moment: Moment) -> dict[str, object] | None:
    """Return the race of the finals, None before it begins."""
    found = finals_view(moment)
    return None if found is None else found.to_json()
