"""Which runs and studies the dashboard shows, and what they are called in its addresses.

Nothing outside the folders that were given is ever opened: an address names an entry of this list,
never a path.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from genesys_engine.engine.compare.store import RUNS, StudyStore
from genesys_engine.engine.dashboard.watch import Watch
from genesys_engine.engine.store.run_store import DATABASE, Store
from genesys_engine.gab.errors import InputError

RUN, STUDY = "run", "study"
_STUDY_DATABASE = StudyStore.file


@dataclass(frozen=True)
class Entry:
    """A run or a study: `key` in addresses; a run of a study has that study's key."""

    key: str
    kind: str
    folder: Path
    study: str = ""
    watch: Watch = field(compare=False, default_factory=lambda: Watch(Path()))


class Catalogue:
    """The runs and studies in the folders given; a folder of runs is looked through again.

    Raises:
        InputError: a folder is not there, or holds neither a run nor a study.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._given = list(dict.fromkeys(folder.resolve() for folder in folders))
        self._known: dict[Path, Entry] = {}
        self._by_key: dict[str, Entry] = {}
        self._lock = threading.Lock()
        for folder in self._given:
            _demand(folder)
        self.entries()

    def entries(self) -> list[Entry]:
        """Return all runs and studies, those that have come since the start included."""
        with self._lock:
            for folder in self._given:
                for kind, found, study in _found(folder):
                    if found not in self._known:
                        above = self._known.get(study) if study is not None else None
                        self._add(kind, found, "" if above is None else above.key)
            return list(self._known.values())

    def get(self, key: str) -> Entry:
        """Return one by its key.

        Raises:
            InputError: there is none.
        """
        if key not in self._by_key:
            self.entries()
        if (entry := self._by_key.get(key)) is None:
            raise InputError(
                "there is no such run on this dashboard", hint="go back to the list of runs"
            )
        return entry

    def run(self, key: str) -> Entry:
        """Return a run by its key.

        Raises:
            InputError: there is none.
        """
        if (entry := self.get(key)).kind != RUN:
            raise InputError("this is a study, not a run", hint="choose one of its runs")
        return entry

    def _add(self, kind: str, folder: Path, study: str) -> None:
        stem = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-") or kind
        key, number = stem, 1
        while key in self._by_key:
            number += 1
            key = f"{stem}-{number}"
        entry = Entry(key, kind, folder, study, Watch(folder))
        self._known[folder] = self._by_key[key] = entry


def _demand(folder: Path) -> None:
    if not folder.is_dir():
        what = "this is a file, not the folder of a run" if folder.exists() else "no such folder"
        raise InputError(what, where=str(folder), hint=Store.how_to_get_one)
    if next(_found(folder), None) is None:
        raise InputError(
            "no run and no study here",
            where=str(folder),
            hint="give the folder of a run or of a study, or a folder that holds some",
        )


def _found(folder: Path) -> Iterator[tuple[str, Path, Path | None]]:
    """Yield (kind, folder, folder of its study) of what a given folder is or holds."""
    if (folder / DATABASE).is_file():
        yield RUN, folder, None
    elif (folder / _STUDY_DATABASE).is_file():
        yield from _study(folder)
    elif folder.is_dir():
        for below in sorted(path for path in folder.iterdir() if path.is_dir()):
            if (below / DATABASE).is_file():
                yield RUN, below, None
            elif (below / _STUDY_DATABASE).is_file():
                yield from _study(below)


def _study(folder: Path) -> Iterator[tuple[str, Path, Path | None]]:
    yield STUDY, folder, None
    for database in sorted((folder / RUNS).glob(f"*/{DATABASE}")):
        yield RUN, database.parent, folder
