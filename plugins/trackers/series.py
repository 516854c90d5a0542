"""Events for the built-in trackers, as numbers and as sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from genesys_engine.gab.errors import PluginError


def numbers(event: Mapping[str, Any]) -> dict[str, float]:
    """Return series name -> value (empty for an event without numbers).

    `rung-N/fitness` (gain in per cent over the reference), `rung-N/<metric>` for every score,
    `rung-N/failed` (1 per failure) and `best/fitness`.
    """
    payload = event["payload"]
    found: dict[str, float] = {}
    if event["kind"] == "verification.finished":
        rung = f"rung-{payload['rung']}"
        found[f"{rung}/fitness"] = payload["fitness"]
        found |= {f"{rung}/{name}": value for name, value in payload["scores"].items()}
    elif event["kind"] == "verification.failed":
        found[f"rung-{payload['rung']}/failed"] = 1.0
    elif event["kind"] == "best.changed":
        found["best/fitness"] = payload["fitness"]
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def sentence(event: Mapping[str, Any]) -> str:
    """Return an event as a sentence, or ""."""
    payload = event["payload"]
    if event["kind"] == "design.accepted":
        return f"design {payload['design']}: {payload['change']}"
    if event["kind"] == "run.finished":
        return str(payload.get("verdict", "finished"))
    return ""


def require(module: str, extra: str) -> Any:
    """Import an optional module.

    Raises:
        PluginError: it is not installed; the hint says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise PluginError(
            f"cannot be used: {error}",
            where=f"tracker {extra}",
            hint=f"pip install 'genesys-engine[{extra}]'",
        ) from error
