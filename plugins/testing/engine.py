"""What contract tests need of the engine: a prepared corpus, a finished run, its log, its report.

No module of `plugins` imports the engine.  It is named by a string, as any component is, and has
the methods of `Engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from genesys_engine.plugins.targets import load_target

if TYPE_CHECKING:
    from genesys_engine.plugins.api import RunStore

TARGET = "genesys_engine.engine.cli.scaffold.samples:SampleEngine"


class Engine(Protocol):
    """The engine, as far as tests of plugins ask for it."""

    def corpus(self, cache: Path, *, max_bytes: int, vocab_size: int) -> Path:
        """Prepare a corpus of Python's own source; return its folder."""

    def run(self, folder: Path, cache: Path, experiment: str, local: Sequence[str]) -> None:
        """Carry out a run of an experiment (TOML) in a new folder; its executor is `recorded`."""

    def open(self, folder: Path) -> AbstractContextManager[RunStore]:
        """Open a run to read it."""

    def log(self, folder: Path) -> list[dict[str, Any]]:
        """Return the events of a run: id, kind, payload, at."""

    def report(self, folder: Path, section: str) -> str:
        """Return the HTML page of a run with the registered `section` alone."""


def engine() -> Engine:
    """Return the engine that is installed."""
    return cast("Callable[[], Engine]", load_target(TARGET))()
