"""The recording of an evolution study: its runs in a file, so that its tables need no training.

    {"study": "search_study", "digest": "...", "versions": {...}, "machine": {...}}
    {"item": "seed-1", "arm": "local", "seconds": 812.3, "made": {...}, "events": [...]}

One line tells which study it is, and each other one is a run: the result that the tables rest on,
and the log that it follows from, each event as [kind, payload].
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path

from genesys_engine.engine.common import records
from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.compare.results import FinishedRun, Result
from genesys_engine.engine.compare.store import RUNS, StudyStore
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.errors import InputError

_HEAD = ("digest", "versions", "machine")


def record(store: StudyStore, path: Path) -> int:
    """Write the finished runs of a study to `path`, .jsonl or .jsonl.xz; return their number.

    Raises:
        InputError: the file cannot be written, or a run of the study is gone.
    """
    results = store.results(FinishedRun)
    head = {"study": store.meta("name"), **{key: store.meta(key) for key in _HEAD}}
    lines = [canonical_json(head), *(_line(store, result) for result in results)]
    data = "".join(f"{line}\n" for line in lines).encode()
    try:
        path.write_bytes(lzma.compress(data) if path.suffix == ".xz" else data)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(path)) from None
    return len(results)


def _line(store: StudyStore, result: Result[FinishedRun]) -> str:
    events: list[object] = []
    with Store.open(store.folder / RUNS / f"{result.arm}-{result.item}") as run:
        events = [[e.kind, records.plain(e.payload)] for e in run.events() if e.decisive]
    made = records.to_json(result.made)
    about = {"item": result.item, "arm": result.arm, "seconds": round(result.seconds, 1)}
    return canonical_json({**about, "made": made, "events": events})


class Recording:
    """A recording, read.

    Raises:
        InputError: there is none, or it is damaged; the message names the line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digest = ""
        self.results: list[Result[FinishedRun]] = []
        number = 0
        try:
            for number, line in enumerate(_lines(path), 1):
                entry = json.loads(line)
                if number == 1:
                    self.digest = str(entry["digest"])
                else:
                    self.results.append(_result(entry))
        except FileNotFoundError:
            raise InputError("no such recording", where=str(path), hint=_HINT) from None
        except (ValueError, KeyError, TypeError, OSError, EOFError, lzma.LZMAError) as error:
            raise InputError(
                f"the recording is damaged: {error}", where=f"{path}:{max(number, 1)}", hint=_HINT
            ) from None


_HINT = "give a file of `compare --record`, or leave `recording` out to carry out all runs"


def _lines(path: Path) -> Iterator[str]:
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open("rt") as file:
        yield from file


def _result(entry: dict[str, object]) -> Result[FinishedRun]:
    made = records.from_json(FinishedRun, entry["made"])
    return Result(str(entry["item"]), str(entry["arm"]), made, float(str(entry["seconds"])))
