"""A table of a study, and how its numbers are written."""

from __future__ import annotations

from dataclasses import dataclass

from genesys_engine.engine.common.text import count, decimal, duration
from genesys_engine.engine.compare.statistics import Interval

Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table on the terminal and on the page."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def of_planned(n: int, planned: int) -> str:
    """Return the number of results, and of how many if some are missing: `8/24`."""
    return f"{n}" if n == planned else f"{n}/{planned}"


def share(value: float | None) -> str:
    """Return a proportion in percent; a dash for none."""
    return "–" if value is None else f"{100 * value:.0f} %"


def interval(ends: Interval | None) -> str:
    """Return an interval of proportions in percent; a dash for none."""
    return "–" if ends is None else f"{100 * ends.low:.0f} to {100 * ends.high:.0f}"


def plain(value: float | None, digits: int = 1) -> str:
    """Return a number with so many decimals; a dash for none."""
    return "–" if value is None else decimal(value, digits)


def price(usd: float | None, n: int) -> str:
    """Return US dollars: a dash without results, `unknown` if a price is unknown."""
    return "unknown" if usd is None and n else plain(usd, 4)


def time(seconds: float | None) -> str:
    """Return a time; a dash for none."""
    return "–" if seconds is None else duration(seconds)


def counted(value: float | None) -> str:
    """Return a large number, `12.3k`; a dash for none."""
    return "–" if value is None else count(value)


def times(counts: dict[str, int]) -> str:
    """Return names with their counts: `forward.error ×4, build.error ×1`."""
    return ", ".join(f"{name} ×{n}" for name, n in counts.items())
