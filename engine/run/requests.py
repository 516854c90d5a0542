"""What a person asks of a running run from another process: files in its folder.

A run has one writer, its own process.  A request is therefore an empty file next to the database,
which works on a shared file system and in a container as well, where a signal would not reach the
process, or would reach another one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from genesys_engine.engine.common.interrupt import INTERRUPTED
from genesys_engine.engine.store.lock import LOCK
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.private import private_file, private_folder

FOLDER, STOP, PIN = "requests", "stop", "pin-"
EVERY_S = 0.5


class Refused(InputError):
    """What is asked of a run cannot be done as it stands now."""


def ask_to_stop(folder: Path) -> None:
    """Ask the process that works on a run to end after the running trials, as Ctrl-C does.

    Raises:
        Refused: its folder cannot be written to.
    """
    _ask(folder, STOP)


def ask_to_pin(folder: Path, design: int) -> None:
    """Ask the process that works on a run to promote a design before others.

    Raises:
        Refused: as of `ask_to_stop`.
    """
    _ask(folder, f"{PIN}{design}")


def stop_is_asked(folder: Path) -> bool:
    """Tell whether the process that works on a run was asked to stop.

    A request that is older than its lock was left by one for an earlier process.
    """
    try:
        asked = (folder / FOLDER / STOP).stat().st_mtime_ns
        return asked >= (folder / LOCK).stat().st_mtime_ns
    except FileNotFoundError:
        return False


def pin_is_asked(folder: Path, design: int) -> bool:
    """Tell whether a request to pin a design was not answered yet."""
    return (folder / FOLDER / f"{PIN}{design}").exists()


def _ask(folder: Path, name: str) -> None:
    try:
        private_folder(folder / FOLDER)
        private_file(folder / FOLDER / name).touch()  # an old one becomes new
    except OSError as error:
        raise Refused(
            f"the request cannot be written: {error.strerror}",
            where=str(folder / FOLDER),
            hint="start the dashboard as the user whose run it is",
        ) from error


class Requests:
    """Answers what is asked of a run; looks for it twice a second.

    A request to stop holds for the process that it was made to.  One to pin holds until it is
    answered, also by the process that resumes the run.
    """

    def __init__(
        self, folder: Path, should_stop: Callable[[], str | None], say: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._should_stop = should_stop
        self._say = say
        self._looked_at = float("-inf")
        self._asked_to_stop = False
        self._pins: list[Path] = []

    def should_stop(self) -> str | None:
        """Return the reason to stop: that of the caller, or a request."""
        self._look()
        return self._should_stop() or (INTERRUPTED if self._asked_to_stop else None)

    def pins(self) -> Iterator[int]:
        """Yield the designs to pin, each until the caller comes back for the next.

        The request is taken away only then: whoever is killed in between finds it again.
        """
        self._look()
        while self._pins:
            file = self._pins.pop()
            yield int(file.name.removeprefix(PIN))
            file.unlink(missing_ok=True)

    def close(self) -> None:
        """Take away the request to stop, which has been answered."""
        (self._folder / FOLDER / STOP).unlink(missing_ok=True)

    def _look(self) -> None:
        if time.monotonic() - self._looked_at < EVERY_S:
            return
        self._looked_at = time.monotonic()
        if not self._asked_to_stop and stop_is_asked(self._folder):
            self._asked_to_stop = True
            self._say("stopping, as asked on the dashboard: finishing running trials")
        found = (self._folder / FOLDER).glob(f"{PIN}*")
        numbered = [file for file in found if file.name.removeprefix(PIN).isdecimal()]
        self._pins = sorted(numbered, key=lambda file: -int(file.name.removeprefix(PIN)))
