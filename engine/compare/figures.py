"""Colours and markers of arms in the figures of a study."""

from __future__ import annotations

from collections.abc import Sequence

from genesys_engine.engine.report import figures as fig

_SHAPES = ("circle", "diamond", "square", "cross")


def colour(index: int) -> str:
    """Return the colour of an arm."""
    return fig.SERIES[index % len(fig.SERIES)]


def marker(index: int, size: int = 11) -> dict[str, object]:
    """Return the marker of an arm: colours repeat after five, with another shape."""
    shape = _SHAPES[index // len(fig.SERIES) % len(_SHAPES)]
    return {"size": size, "color": colour(index), "symbol": shape}


def error_bars(points: Sequence[tuple[float, float, float]]) -> dict[str, object]:
    """Return the error bars of values with their intervals, each given as (value, low, high)."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, _, high in points],
        "arrayminus": [value - low for value, low, _ in points],
        "color": fig.MUTED,
    }
