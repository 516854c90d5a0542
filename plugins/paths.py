"""Paths as a person writes them."""

from __future__ import annotations

from pathlib import Path


def user_path(text: str) -> Path:
    """Return a path with ~ expanded, except for unknown users."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def exists(path: Path) -> bool:
    """Return whether a path exists; False for invalid paths, such as too long a name."""
    try:
        return path.exists()
    except OSError:
        return False
