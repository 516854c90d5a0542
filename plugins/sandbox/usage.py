"""How much a job has put on the disk and started, seen from outside, while it runs."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from genesys_engine.plugins.sandbox import linux

MAX_FILES = 20_000
MAX_PROCESSES = 64
_SLACK_BYTES = 1 << 30


def excess(scratch: str, pids: Sequence[int], most_bytes: int) -> str:
    """Return what is too much about a job's files, or "".

    Counts what lies in the scratch folder (links are not followed) with the files that were removed
    and are open still; and what the kernel says the processes have written.
    """
    size, files = _lying(scratch, most_bytes)
    if files > MAX_FILES:
        return f"more than {MAX_FILES:,} files in its scratch folder"
    if max(size + _held(pids), sum(map(_written, pids))) > most_bytes:
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


def crowd(group: int, memory_bytes: int, disk_bytes: int) -> str:
    """Return what is too much about the processes of a group, or ""; only their reaper may ask.

    The limit on addresses holds for each process alone.  All of them together may use twice that
    and a gigabyte: a process that has just been started counts the memory of its parent again.
    """
    members = list(_members(group))
    if len(members) > MAX_PROCESSES:
        return f"more than {MAX_PROCESSES} processes"
    most_bytes = 2 * memory_bytes + _SLACK_BYTES
    if memory_bytes > 0 and sum(map(_private, members)) > most_bytes:
        return f"more than {most_bytes:,} bytes of memory in all its processes"
    if max(_held(members), sum(map(_written, members))) > disk_bytes:
        return f"more than {disk_bytes:,} bytes written to the disk by all its processes"
    return ""


def _members(group: int) -> Iterator[int]:
    """Yield the processes of a group among our descendants; orphans have come to us."""
    left = [pid for pid in linux.child_pids() if _group_of(pid) == group]
    seen = 0
    while left and seen <= MAX_PROCESSES:
        pid = left.pop()
        seen += 1
        yield pid
        with suppress(OSError):  # gone meanwhile
            for thread in Path(f"/proc/{pid}/task").iterdir():
                left += map(int, (thread / "children").read_text().split())


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _private(pid: int) -> int:
    """Return the bytes in memory that no file stands behind."""
    try:
        pages = [int(field) for field in Path(f"/proc/{pid}/statm").read_text().split()]
    except OSError:
        return 0
    return (pages[1] - pages[2]) * resource.getpagesize()


def _held(pids: Sequence[int]) -> int:
    """Return the bytes of files that were removed and that one of the processes has open still."""
    found: dict[tuple[int, int], int] = {}
    for pid in pids:
        for facts in _open_files(pid):
            if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 0:
                found[facts.st_dev, facts.st_ino] = facts.st_blocks * 512
    return sum(found.values())


def _open_files(pid: int) -> Iterator[os.stat_result]:
    with suppress(OSError):  # gone meanwhile
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # closed by now
                yield entry.stat()
