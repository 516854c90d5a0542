"""Results of verifications as the store keeps them: those that failed, and what can be kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genesys_engine.engine.jobs.replies import is_measured
from genesys_engine.plugins.trainers.live_curve import read_live_curve


def failure(cause: str, reason: str, value: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the result of a verification that failed, with what is known of it all the same."""
    kept = value or {}
    return {
        "status": "failed",
        "cause": cause,
        "reason": reason,
        "scores": finite_scores(kept.get("scores", {})),
        "controls": {k: finite_scores(v) for k, v in kept.get("controls", {}).items()},
        "curve": [p for p in kept.get("curve", []) if all(map(is_measured, p))],
        "tokens": kept.get("tokens", 0),
    }


def finite_scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores that can be reckoned with."""
    return {k: s for k, s in scores.items() if is_measured(s["value"])}


def so_far(scratch: Path) -> dict[str, Any]:
    """Return how far a trial came that has no result: its curve and the tokens that it saw."""
    curve = read_live_curve(scratch)
    return {"curve": curve, "tokens": int(curve[-1][0])} if curve else {}


def scrub(reason: str, scratch: Path) -> str:
    """Return `reason` without what differs from run to run: addresses, folders, times."""
    text = reason.replace(str(scratch), "<scratch>")
    return re.sub(r"0x[0-9a-fA-F]+", "0x...", text)[:2000]
