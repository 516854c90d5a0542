"""Jobs that an executor is tested with."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genesys_engine.plugins.sandbox.subject import Answer, Operations, SubjectProcess


def echo(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Return what was given, and leave a file."""
    (scratch / "left.txt").write_text("left", encoding="utf-8")
    return {"given": dict(payload)}


def fail(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Raise as `payload` says."""
    raise ValueError(payload["text"])


def fill(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Write `payload["bytes"]` bytes."""
    (scratch / "filled").write_bytes(b"a" * payload["bytes"])
    return {}


def sleep(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Sleep for `payload["seconds"]`."""
    time.sleep(payload["seconds"])
    return {}


def ask(payload: Mapping[str, Any], scratch: Path, subject: SubjectProcess) -> dict[str, Any]:
    """Ask the subject where it runs and for the double of a number."""
    answer, _ = subject.ask("double", {"number": payload["number"]})
    return {**answer, "judge": os.getpid()}


def operations(scratch: Path) -> Operations:
    """Return what the subject of `ask` serves."""

    def double(arguments: dict[str, Any], tensors: list[Any]) -> Answer:
        return {"double": 2 * arguments["number"], "subject": os.getpid()}, ()

    return {"double": double}


def where(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Say that it began, wait for `payload["until"]` in its folder, and read a file if asked.

    Each beginning adds a line to `begun`: the process, and its parent.
    """
    with (scratch / "begun").open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {os.getppid()}\n")
    while (name := payload.get("until")) and not (scratch / name).exists():
        time.sleep(0.05)
    read = payload.get("read")
    return {"read": Path(read).read_text(encoding="utf-8") if read else None, "path": read}
