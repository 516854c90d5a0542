"""A job that outlives the coordinator: what is noted of it on the disk, and where its files lie.

    RUN/scratch/verify-7/       the engine's folder of the job; left alone while there is a note
    RUN/scratch/verify-7-job/   the note: what the job is asked, its number, in the end its outcome
    HOME/                       where it runs: in the note's folder, or on a disk that nodes share
        request.json  started.json  outcome.json
        verify-7/               the scratch folder that the job has

A job is known by what it is asked (`key_of`), never by time.  Its files go to HOME before it is
submitted and come back when it has ended; each step can be repeated after a kill in mid-step.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from genesys_engine.plugins.disk import sync, write_whole
from genesys_engine.plugins.sandbox import Outcome
from genesys_engine.plugins.sandbox.scratch import remove

JOB = "-job"  # end of the name of the folder that holds the note of a job
NOTE, REQUEST, STARTED, OUTCOME = "note.json", "request.json", "started.json", "outcome.json"
LOG_LINES = 3
_HOME = "home"  # of a job, within its note's folder

_READ_OUTCOME = TypeAdapter(Outcome)


def note_folder(scratch: Path) -> Path:
    """Return where the note of the job with this scratch folder lies."""
    return scratch.with_name(f"{scratch.name}{JOB}")


def is_noted(scratch: Path) -> bool:
    """Tell whether a job of this scratch folder may be running, or has left its outcome.

    Then nothing in the folder may be changed but by the executor that the job is submitted to.
    """
    return (note_folder(scratch) / NOTE).is_file()


def is_of_a_noted_job(entry: Path) -> bool:
    """Tell whether a folder is the scratch folder of a noted job, or its note."""
    return is_noted(entry) or (entry.name.endswith(JOB) and (entry / NOTE).is_file())


def forget(scratch: Path) -> None:
    """Remove the note of a job whose outcome is durable elsewhere, or is wanted no more."""
    remove(note_folder(scratch))


def key_of(target: str, payload: Mapping[str, Any], scratch: Path) -> str:
    """Return what identifies a job: its function, its payload, and the folder of its task.

    Raises:
        TypeError, ValueError: the payload is not a JSON object.
    """
    asked = [target, dict(payload), str(scratch.absolute())]
    text = json.dumps(asked, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Started:
    """What a job says when it begins: where, since when (epoch seconds), and what there is."""

    node: str
    at: float
    isolation: Mapping[str, Any]
    cpus: int
    gpus: int


@dataclass(frozen=True)
class KeptJob:
    """A job with a note; `number` is what the cluster calls it, "" before it is submitted."""

    scratch: Path
    note: Path
    key: str
    home: Path
    number: str = ""

    @property
    def name(self) -> str:
        """Return what the cluster shows, and what finds the job if its number was not noted."""
        return f"genesys-{self.scratch.name}-{self.key[:12]}"

    @property
    def work(self) -> Path:
        """The scratch folder that the job has where it runs."""
        return self.home / self.scratch.name

    # --- before ------------------------------------------------------------------------------

    @classmethod
    def prepare(
        cls, scratch: Path, note: Path, key: str, shared: Path | None, request: Mapping[str, Any]
    ) -> KeptJob:
        """Lay out a job: its request, the files that it continues from, and its note.

        Raises:
            OSError: the disk is full, or the shared folder cannot be written to.
        """
        remove(note)
        home = note / _HOME if shared is None else shared / f"{scratch.name}-{key[:12]}"
        job = cls(scratch, note, key, home)
        remove(home)
        job.work.mkdir(parents=True, mode=0o700)
        note.mkdir(parents=True, exist_ok=True)
        asked = {**request, "job": {**request["job"], "scratch": str(job.work.absolute())}}
        write_whole(home / REQUEST, json.dumps(asked), private=True)
        job._write()
        return job

    def take_files(self) -> None:
        """Move the files that the job continues from to where it runs; can be called again."""
        _move_files(self.scratch, self.work)

    def numbered(self, number: str) -> KeptJob:
        """Return the job with its number, which is noted durably."""
        job = replace(self, number=number)
        job._write()
        return job

    def _write(self) -> None:
        said = {"key": self.key, "home": str(self.home.absolute()), "number": self.number}
        write_whole(self.note / NOTE, json.dumps(said))
        sync(self.note)
        sync(self.note.parent)

    @classmethod
    def noted(cls, scratch: Path, note: Path) -> KeptJob | None:
        """Return the job that an earlier session noted, None where there is none."""
        try:
            said = json.loads((note / NOTE).read_text(encoding="utf-8"))
            return cls(scratch, note, said["key"], Path(said["home"]), said["number"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    # --- during ------------------------------------------------------------------------------

    @property
    def started(self) -> Started | None:
        """What it said when it began, None before."""
        try:
            return Started(**json.loads((self.home / STARTED).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def outcome(self) -> Outcome | None:
        """Its outcome, None before; of a file that cannot be read, a fault of the machine."""
        for folder in (self.note, self.home):
            try:
                text = (folder / OUTCOME).read_text(encoding="utf-8")
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                return _unreadable(folder / OUTCOME, error)
            try:
                return _READ_OUTCOME.validate_json(self._as_here(text), strict=True)
            except ValidationError as error:
                return _unreadable(folder / OUTCOME, error)
        return None

    def _as_here(self, text: str) -> str:
        """Return JSON in which the job's scratch folder has the name that the engine gave it."""
        ran, asked = (json.dumps(str(path.absolute()))[1:-1] for path in (self.work, self.scratch))
        return text.replace(ran, asked)

    def show(self, names: tuple[str, ...]) -> None:
        """Copy small files that tell how far the job is to the engine's folder."""
        for name in names:
            with suppress(OSError):
                _copy_plain(self.work / name, self.scratch / name)

    def log(self) -> str:
        """Return the last lines of what the job's own start has printed, as one line."""
        lines: list[str] = []
        for path in sorted(self.home.glob("*/*_log.err")):
            with suppress(OSError):
                lines += path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "; ".join(line.strip() for line in lines[-LOG_LINES:] if line.strip())

    def refresh(self) -> None:
        """Have a network file system look for what was written on another machine."""
        with suppress(OSError):
            self.home.chmod(stat.S_IMODE(self.home.stat().st_mode))

    # --- after -------------------------------------------------------------------------------

    def deliver(self) -> None:
        """Bring the files of an ended job to the engine; the note stays, with the outcome.

        Raises:
            OSError: the disk is full; it can be called again.
        """
        self.scratch.mkdir(parents=True, exist_ok=True)
        _move_files(self.work, self.scratch)
        if (self.home / OUTCOME).exists():
            _place(self.home / OUTCOME, self.note / OUTCOME)
            sync(self.note)
        remove(self.home)

    def give_up(self) -> None:
        """Bring back the files of a job that has no outcome, and leave nothing else."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        _move_files(self.work, self.scratch)
        remove(self.home)
        remove(self.note)


def write_outcome(home: Path, outcome: Outcome) -> None:
    """Write the outcome of the job that runs in `home`, whole or not at all."""
    write_whole(home / OUTCOME, json.dumps(asdict(outcome)), private=True)


def _unreadable(path: Path, error: Exception) -> Outcome:
    reason = str(error).partition("\n")[0]
    return Outcome("infrastructure", None, f"the result file {path} cannot be read: {reason}")


def _move_files(source: Path, target: Path) -> None:
    """Move the plain files in a folder; links and what else a job may have laid stay behind."""
    for path in _plain_files(source):
        _place(path, target / path.name)


def _plain_files(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if stat.S_ISREG(entry.lstat().st_mode):
            yield entry


def _place(source: Path, target: Path) -> None:
    """Move a file so that it is whole under its new name, be it on another disk."""
    try:
        source.replace(target)
    except OSError:
        _copy_plain(source, target)
        source.unlink()


def _copy_plain(source: Path, target: Path) -> None:
    partial = target.with_name(f".{target.name}.partial")
    handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as read, partial.open("wb") as write:
        shutil.copyfileobj(read, write)
        os.fsync(write.fileno())
    partial.replace(target)
