"""Files that are on the disk whole, or not there under their name."""

from __future__ import annotations

import os
from pathlib import Path

from genesys_engine.gab.private import private_file


def sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, text: str, *, private: bool = False) -> None:
    """Write a file that is on the disk whole, or not there under its name.

    Args:
        private: for its owner alone.

    Raises:
        OSError: the disk is full.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        if private:
            private_file(partial)
        partial.write_text(text, encoding="utf-8")
        sync(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
