"""Commands of a test.

A loaded machine refuses to start one of hundreds now and then, which says nothing about the
command: nothing of it has run, and it is started again.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from os import PathLike
from typing import Any

from genesys_engine.plugins.sandbox.starting import retried


def run(
    command: Sequence[str | PathLike[str]], *, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Return how a command ended, and its text; `options` are those of `subprocess.run`.

    Raises:
        AssertionError: `check` is set and it failed; with what it wrote.
    """
    options = {"capture_output": True, "text": True} | options
    done = retried(lambda: subprocess.run(command, **options))
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done


def start(command: Sequence[str | PathLike[str]], **options: Any) -> subprocess.Popen[Any]:
    """Start a command and return it; `options` are those of `subprocess.Popen`."""
    return retried(lambda: subprocess.Popen(command, **options))
