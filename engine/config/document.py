"""A TOML document under examination: its data, its places, and the faults found so far."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass, field

from genesys_engine.engine.common.options import TomlTable
from genesys_engine.engine.config.positions import Path, Place, Positions
from genesys_engine.engine.config.problems import ConfigError, Problem


@dataclass(frozen=True)
class Override:
    """A `--set`, and the folder that paths in it are relative to."""

    source: str
    folder: pathlib.Path


@dataclass
class Document:
    """`data` changes as overrides are applied; `overrides` remembers which path came whence.

    `paths` are the whole paths that were made of values, by their place.
    """

    source: str
    data: TomlTable
    positions: Positions
    overrides: dict[Path, Override] = field(default_factory=dict)
    paths: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def report(self, path: Path, message: str, hint: str | None = None) -> None:
        """Note a fault of the value at `path`."""
        self._add(path, self.positions.value(path), message, hint)

    def report_key(self, path: Path, message: str, hint: str | None = None) -> None:
        """Note a fault of the key or of the table header at `path`."""
        self._add(path, self.positions.key(path), message, hint)

    def report_source(self, source: str, message: str, hint: str | None = None) -> None:
        """Note a fault outside the file."""
        self.problems.append(Problem(message, source, None, hint or None))

    def folder_of(self, path: Path) -> pathlib.Path:
        """Return the folder that the value at `path`, if it is a path, is relative to."""
        override = self._override(path)
        return override.folder if override else pathlib.Path(self.source).parent

    def raise_problems(self) -> None:
        """Raise `ConfigError` if there is any fault."""
        if self.problems:
            raise ConfigError(self.problems)

    def _add(self, path: Path, place: Place | None, message: str, hint: str | None) -> None:
        override = self._override(path)
        if override:
            self.report_source(override.source, message, hint)
        else:
            if place is None:
                message = f"{message} (the default of [{path[0]}])"
            self.problems.append(Problem(message, self.source, place, hint or None))

    def _override(self, path: Path) -> Override | None:
        """Return the newest override that gave `path`, a part of it, or the table it stands in."""
        written = path in self.positions.keys
        for given, override in reversed(self.overrides.items()):
            if path[: len(given)] == given or (not written and given[: len(path)] == path):
                return override
        return None
