"""Numbers and words as people read them; a negative number has the minus sign, not a hyphen."""

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
    return decimal(value, digits) + suffix if suffix else decimal(value, 0)


def decimal(value: float, digits: int = 2) -> str:
    """Return a number with so many decimals, `1.23` or `−0.50`; what rounds to 0 has no sign."""
    return _minus(f"{round(value, digits) + 0.0:.{digits}f}")  # -0.0 + 0.0 is 0.0


def signed(value: float, digits: int = 2) -> str:
    """Return the same with a plus before what is above 0: `+1.23`, `−0.50`, `0.00`."""
    return ("+" if round(value, digits) > 0 else "") + decimal(value, digits)


def percent(value: float | None) -> str:
    """Return a gain with its sign, `+1.23 %`; a dash for none."""
    return "–" if value is None else f"{signed(value)} %"


def number(value: float | None) -> str:
    """Return a score with four significant figures, `2.165` or `12,345`; a dash for none."""
    if value is None:
        return "–"
    if 10_000 <= abs(value) < 1e15:  # four figures would take an exponent
        return _minus(f"{value:,.0f}")
    return _minus(f"{value:#.4g}".rstrip("."))


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
    return _minus(f"{value:,.0f}" if 99.5 <= abs(value) < 1e15 else f"{value:.2g}")


def listed(words: Iterable[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _minus(text: str) -> str:
    """Return a number with the minus sign before it; a hyphen within an exponent stays."""
    return "−" + text[1:] if text.startswith("-") else text


def metric_title(name: str) -> str:
    """Return what a metric is called among words: `bits per byte`."""
    return name.replace("_", " ")
