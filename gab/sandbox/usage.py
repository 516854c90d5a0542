"""How much a job has put on the disk, seen from outside, while it runs."""

from __future__ import annotations

import os
from pathlib import Path

MAX_FILES = 20_000


def excess(scratch: str, pid: int, most_bytes: int) -> str:
    """Return what is too much about a job's files, or "".

    Counts what lies in the scratch folder (links are not followed) and, for files that were
    removed while open, what the kernel says the process has written.
    """
    size, files = _lying(scratch, most_bytes)
    if files > MAX_FILES:
        return f"more than {MAX_FILES:,} files in its scratch folder"
    if max(size, _written(pid)) > most_bytes:
        return f"more than {most_bytes:,} bytes written to the disk"
    return ""


def _lying(scratch: str, most_bytes: int) -> tuple[int, int]:
    """Return bytes and number of files; stops counting when either is too large."""
    size = files = 0
    folders = [scratch]
    while folders and files <= MAX_FILES and size <= most_bytes:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    files += 1
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if files > MAX_FILES:
                        break
        except OSError:  # gone meanwhile, or nested beyond what a path can say
            continue
    return size, files


def _written(pid: int) -> int:
    """Return the bytes that a process has caused to be written (0 where /proc cannot say)."""
    try:
        for line in Path(f"/proc/{pid}/io").read_text().splitlines():
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
