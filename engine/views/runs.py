"""The runs that lie in a folder, each in a line."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from genesys_engine.engine.score.verdict import judge
from genesys_engine.engine.store.run_store import DATABASE, Store
from genesys_engine.engine.views.status import run_state
from genesys_engine.engine.views.timing import elapsed_s
from genesys_engine.gab.errors import GenesysError

UNREADABLE = "cannot be read"


@dataclass(frozen=True)
class RunRow:
    """One run: what it is called, how far it is, and what its best child did.

    `difference` is in points of percent against the child's parent (or what else it is compared
    with first), which `against` names, and `standing` says what it shows; `problem` is why a run
    cannot be read.
    """

    folder: str
    name: str
    state: str
    designs: int = 0
    best_child: int | None = None
    difference: float | None = None
    standing: str = ""
    against: str = ""
    elapsed_s: float = 0.0
    problem: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the row as the command line gives it out."""
        return asdict(self)


def holds_runs(folder: Path) -> bool:
    """Tell whether a folder is no run itself and has runs in it."""
    return not (folder / DATABASE).exists() and next(_runs(folder), None) is not None


def runs_in(folder: Path) -> list[RunRow]:
    """Return the runs in a folder, by name."""
    return [_row(path) for path in _runs(folder)]


def _runs(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(path.parent for path in folder.glob(f"*/{DATABASE}"))


def _row(folder: Path) -> RunRow:
    try:
        with Store.open(folder) as store:
            return _summary(folder, store)
    except (GenesysError, sqlite3.DatabaseError) as error:  # the others can be listed all the same
        problem = error.message if isinstance(error, GenesysError) else str(error)
        return RunRow(folder.name, folder.name, UNREADABLE, problem=problem)


def _summary(folder: Path, store: Store) -> RunRow:
    run = run_state(store)
    verdict = judge(store)
    first = verdict.comparisons[0] if verdict.comparisons else None
    return RunRow(
        folder.name,
        run.name,
        run.state,
        run.accepted,
        verdict.best_child,
        None if first is None else first.difference,
        "" if first is None else first.standing,
        "" if first is None else f"{first.roles[0]} {first.name}",
        elapsed_s(store, run),
    )
