"""Paths as a person writes them."""

from __future__ import annotations

from pathlib import Path


def user_path(text: str) -> Path:
    """Return a path; ~ is home, and stays what it is for a user who is unknown."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def exists(path: Path) -> bool:
    """Tell whether there is something; no for what cannot be a path, such as too long a name."""
    try:
        return path.exists()
    except OSError:
        return False
