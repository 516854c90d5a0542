"""Numbers and words as people read them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

_THOUSAND = 1000.0


def duration(seconds: float) -> str:
    """Return `42 s`, `3 min 5 s`, `2 h 10 min` or `3 d 4 h`."""
    whole = max(0, round(seconds))
    for unit, size, smaller, small in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small} {smaller}"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole} s" if whole >= 10 or seconds == whole else f"{seconds:.1f} s"


def count(value: float) -> str:
    """Return `950`, `12.3k`, `4.51M` or `1.20G`: three figures or more."""
    for suffix in ("", "k", "M", "G", "T"):
        if abs(value) < _THOUSAND or suffix == "T":
            break
        value /= _THOUSAND
    digits = 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}{suffix}" if suffix else f"{value:.0f}"


def signed(value: float, digits: int = 2) -> str:
    """Return a number with its sign, `+1.23` or `−0.50`; what rounds to 0 has none."""
    rounded = round(value, digits)
    if rounded == 0:
        return f"{0:.{digits}f}"
    return f"{rounded:+.{digits}f}".replace("-", "−")


def percent(value: float | None) -> str:
    """Return a gain with its sign, `+1.23 %`; a dash for none."""
    return "–" if value is None else f"{signed(value)} %"


def number(value: float | None) -> str:
    """Return a score with four significant figures, `2.165` or `12,345`; a dash for none."""
    if value is None:
        return "–"
    if 10_000 <= abs(value) < 1e15:  # four figures would take an exponent
        return f"{value:,.0f}"
    return f"{value:#.4g}".rstrip(".")


def amount(value: float) -> str:
    """Return what is counted or used: `16`, `58,500`, `0.25`."""
    if value == round(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def shortened(text: str, most: int = 160) -> str:
    """Return `text` on one line, cut after a word where it has more than `most` characters."""
    return textwrap.shorten(text, most, placeholder=" …")


def plural(n: int, word: str, many: str = "") -> str:
    """Return `1 design`, `2 designs`; `many` is the plural where it takes more than an s."""
    return f"{n:,} {word if n == 1 else many or word + 's'}"


def rough(value: float | None) -> str:
    """Return a measure of noise with two significant figures, `0.24` or `150`; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if 99.5 <= abs(value) < 1e15 else f"{value:.2g}"


def listed(words: Iterable[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def metric_title(name: str) -> str:
    """Return what a metric is called among words: `bits per byte`."""
    return name.replace("_", " ")
