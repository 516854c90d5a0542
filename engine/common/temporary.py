"""Temporary folders of commands: removed at their end, or by the next command after a kill."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genesys_engine.plugins.held_folders import hold
from genesys_engine.plugins.sandbox.scratch import remove

_PREFIX = "genesys-scratch-"


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Yield an empty folder for this process alone, and remove it with all that is in it.

    End whoever writes there before: jobs too.  Folders that a killed process left, which no process
    has locked, are removed first.
    """
    folder, lock = hold(_PREFIX, f"{purpose}-")
    try:
        yield folder
    finally:
        remove(folder)
        os.close(lock)
