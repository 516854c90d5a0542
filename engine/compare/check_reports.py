"""The check reports of a study, as JSON lines in its folder or in a recording.

    {"source": "<SHA-256 of the composed source>", "report": {...}}

Check reports become part of later prompts.  A study that replays recorded replies therefore needs
the reports of the time as well: an improved checker would lead to requests that the recording does
not contain.  The numbers depend on them too: they rest on the checker that judged the designs.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import threading
from pathlib import Path

from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.private import private_file

FILE = "checks.jsonl"
_HINT = "give `checks.jsonl` of the recorded study, or leave `checks` out to run all checks again"


class CheckReports:
    """Reports by source, from a recording and from this study.

    Args:
        folder: of the study; new reports are appended to `FILE` in it.
        recorded: a recording, `.jsonl` or `.jsonl.xz`, or None.

    Raises:
        InputError: the recording is missing or damaged; the message names the line.
    """

    def __init__(self, folder: Path, recorded: Path | None = None) -> None:
        self._file = folder / FILE
        self._lock = threading.Lock()
        self._known = dict(_read(recorded)) if recorded is not None else {}
        if self._file.exists():
            _drop_part_of_a_line(self._file)
            self._known |= _read(self._file)

    def find(self, source: str) -> DesignReport | None:
        """Return the report of a source; None if it has not been checked."""
        with self._lock:
            return self._known.get(digest(source))

    def add(self, source: str, report: DesignReport) -> None:
        """Store a report, with its fields in the order in which prompts list them."""
        key = digest(source)
        line = json.dumps({"source": key, "report": report.to_json()}, allow_nan=False)
        with self._lock, private_file(self._file).open("a", encoding="utf-8") as file:
            self._known[key] = report
            file.write(line + "\n")


def digest(source: str) -> str:
    """Return the key of a source."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()


def _drop_part_of_a_line(path: Path) -> None:
    """Remove a report that a kill left half-written."""
    with path.open("rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)


def _read(path: Path) -> dict[str, DesignReport]:
    if not path.is_file():
        raise InputError("no such recording of checks", where=str(path), hint=_HINT)
    found: dict[str, DesignReport] = {}
    number = 0
    try:
        with lzma.open(path, "rt") if path.suffix == ".xz" else path.open("rt") as file:
            for line in file:
                number += 1
                entry = json.loads(line)
                found[entry["source"]] = DesignReport.from_json(entry["report"])
    except (ValueError, KeyError, TypeError, OSError, EOFError, lzma.LZMAError) as error:
        raise InputError(
            f"the recording of checks is damaged: {error}",
            where=f"{path}:{max(number, 1)}",
            hint=_HINT,
        ) from None
    return found
