"""Jobs that an executor is tested with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def echo(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Return what was given, and leave a file."""
    (scratch / "left.txt").write_text("left", encoding="utf-8")
    return {"given": dict(payload)}


def fail(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Raise as `payload` says."""
    raise ValueError(payload["text"])


def sleep(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Sleep for `payload["seconds"]`."""
    time.sleep(payload["seconds"])
    return {}
