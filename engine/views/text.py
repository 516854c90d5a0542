"""Numbers and words as people read them."""

from __future__ import annotations

import textwrap

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
    """Return `950`, `12.3k`, `4.5M` or `1.2G`."""
    for suffix in ("", "k", "M", "G", "T"):
        if abs(value) < _THOUSAND or suffix == "T":
            break
        value /= _THOUSAND
    return f"{value:.0f}" if not suffix else f"{value:.1f}{suffix}"


def percent(value: float | None) -> str:
    """Return a gain with its sign, `+1.23 %`; a dash for none."""
    if value is None:
        return "–"
    rounded = round(value, 2)
    return "0.00 %" if rounded == 0 else f"{rounded:+.2f} %".replace("-", "−")


def number(value: float | None) -> str:
    """Return a score with four significant figures; a dash for none."""
    return "–" if value is None else f"{value:#.4g}".rstrip(".")


def shortened(text: str, most: int = 160) -> str:
    """Return `text` on one line, cut after a word where it has more than `most` characters."""
    return textwrap.shorten(text, most, placeholder=" …")


def plural(n: int, word: str) -> str:
    """Return `1 design`, `2 designs`."""
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def rough(value: float | None) -> str:
    """Return a measure of noise with two significant figures; a dash for none."""
    return "–" if value is None else f"{value:.2g}"
