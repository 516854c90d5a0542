"""Jobs without a model, for `executor_overhead.py`: what is measured then is the way to them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def stub(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Answer at once."""
    return {"n": payload["n"]}


def burn(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Use some seconds of processor time and say how many."""
    begin = time.process_time()
    while time.process_time() - begin < payload["cpu_s"]:
        sum(range(10_000))
    return {"cpu_s": time.process_time() - begin}
