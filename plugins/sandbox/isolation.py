"""What isolation this machine offers, and which of the three levels that makes.

* `process`: a process per job with its own session, a scrubbed environment, resource limits and
  a deadline.  Stops accidents, not malice.
* `standard`: also Landlock (no file outside) and seccomp (no socket, no process, no program).
* `strict`: also namespaces (no network interface, no rights outside, even after a fault in the
  other two).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import genesys_engine
from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.sandbox import landlock, namespaces, seccomp

Level = Literal["process", "standard", "strict"]
LEVELS: tuple[Level, ...] = get_args(Level)

# measure -> the level that needs it, and what a machine without it should get
_NEEDED: Mapping[str, tuple[Level, str]] = {
    "landlock": ("standard", "Linux 5.13 or later with Landlock among its security modules"),
    "seccomp": ("standard", "Linux with seccomp filters on x86_64 or aarch64"),
    "namespaces": ("strict", "Linux that lets users make user namespaces"),
}


@dataclass(frozen=True)
class Isolation:
    """The measures that the kernel holds; `landlock` is its ABI, 0 for none."""

    landlock: int = 0
    seccomp: bool = False
    namespaces: bool = False

    @property
    def level(self) -> Level:
        """The highest level whose measures all hold."""
        return next(level for level in reversed(LEVELS) if not self.missing(level))

    def missing(self, level: Level) -> tuple[str, ...]:
        """Return the measures that `level` needs and that do not hold."""
        return tuple(
            name
            for name, (needed_by, _) in _NEEDED.items()
            if at_least(level, needed_by) and not getattr(self, name)
        )

    def at_most(self, level: Level) -> Isolation:
        """Return what is left when no measure beyond `level` is used."""
        kept = {
            name: getattr(self, name)
            for name, (needed_by, _) in _NEEDED.items()
            if at_least(level, needed_by)
        }
        return Isolation(**kept)

    def demand(self, level: Level) -> None:
        """Check that `level` is reached.

        Raises:
            EnvironmentProblem: it is not; the message says what is missing.
        """
        missing = self.missing(level)
        if missing:
            raise EnvironmentProblem(
                f"isolation level {level!r} is required, but this machine reaches {self.level!r}: "
                f"missing {', '.join(missing)}",
                where="[sandbox] require",
                hint=f"use {'; '.join(_NEEDED[name][1] for name in missing)}; or, for code that you"
                f' trust, set require = "{self.level}"',
            )

    def to_json(self) -> dict[str, Any]:
        """Return the level and its measures, as a run records them."""
        return {"level": self.level, **asdict(self)}


def at_least(level: Level, other: Level) -> bool:
    """Tell whether `level` is `other` or a stricter one."""
    return LEVELS.index(level) >= LEVELS.index(other)


def isolation_here(at_most: Level = "strict") -> Isolation:
    """Return what this machine offers up to a level; takes some 0.1 s for trying namespaces."""
    root = str(Path(genesys_engine.__file__).parent.parent)
    return _offered(at_least(at_most, "strict") and namespaces.available(root)).at_most(at_most)


def enter(at_most: Level) -> Isolation:
    """Enter the namespaces (for this process and all that it forks) and return what holds.

    Landlock and seccomp are then each job's own business (`child`).
    """
    return _offered(at_least(at_most, "strict") and namespaces.enter()).at_most(at_most)


def _offered(inside: bool) -> Isolation:
    if sys.platform != "linux":
        return Isolation()
    return Isolation(landlock.abi(), seccomp.available(), inside)
