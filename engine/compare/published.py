"""The published designer study, to stand beside measured rows.

Source: Genesys, arXiv 2506.20249, Table 3: 100 accepted proposals, up to 5 tries each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _row(valid: float, attempts: float, cost: float, lines: int) -> dict[str, Any]:
    return {"valid_rate": valid, "n": 100, "attempts": attempts, "cost": cost, "lines": lines}


PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "gp": _row(0.92, 2.6, 15.0, 181),
    "no_unitwise": _row(0.73, 3.0, 7.9, 75),
    "no_planner": _row(0.91, 2.6, 16.0, 218),
    "no_observer": _row(0.89, 2.6, 12.1, 211),
    "no_checker": _row(0.30, 2.4, 2.9, 167),
    "direct": _row(0.06, 1.1, 0.3, 49),
}
"""Implementer -> its published row; the full system is our `gp`."""
