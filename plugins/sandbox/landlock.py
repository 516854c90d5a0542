"""Landlock: which files a process may read and write, held by the kernel without root.

Source: the kernel's Documentation/userspace-api/landlock.rst.  Each ABI adds rights that can be
handled; what an older kernel does not know, the filter on system calls refuses (`seccomp`).
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable

from genesys_engine.plugins.sandbox import linux

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # alike on every processor
_VERSION = 1
_BENEATH = 1
TCP, SIGNAL_SCOPE = 4, 6  # the ABIs since which connections, and signals, are held inside

(
    EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR,
    MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV,
) = (1 << bit for bit in range(16))  # fmt: skip

READ = READ_FILE | READ_DIR
NAMES = READ_DIR
# No links, sockets, queues or devices: the parent reads this folder.
SCRATCH = (
    READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE
)  # fmt: skip
DEVICE = READ_FILE | WRITE_FILE | IOCTL_DEV
_ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

Rule = tuple[str, int]  # a path, and the rights on it and all beneath


def abi() -> int:
    """Return the kernel's Landlock ABI, 0 where it has none or it was not switched on."""
    return max(0, linux.call(_CREATE, 0, 0, _VERSION))


def confine(rules: Iterable[Rule]) -> None:
    """Allow this process what `rules` say and no other file, no TCP, no signal to outside.

    A path that does not exist is left out.

    Raises:
        OSError: the kernel refused.
    """
    handled, attributes = _attributes(abi())
    buffer = linux.buffer(attributes)
    ruleset = linux.require(linux.call(_CREATE, buffer, len(attributes), 0), "landlock")
    try:
        for path, rights in rules:
            _allow(ruleset, path, rights & handled)
        linux.no_new_privileges()
        linux.require(linux.call(_RESTRICT, ruleset, 0), "landlock")
    finally:
        os.close(ruleset)


def _attributes(version: int) -> tuple[int, bytes]:
    """Return the rights on files that are handled, and `struct landlock_ruleset_attr`."""
    files = REFER - 1
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        files |= right if version >= since else 0
    tcp = 3  # bind and connect
    scoped = 3  # abstract sockets, and signals to processes outside
    size = 24 if version >= SIGNAL_SCOPE else 16 if version >= TCP else 8
    return files, struct.pack("QQQ", files, tcp, scoped)[:size]


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= _ON_FILES
        rule = linux.buffer(struct.pack("=Qi", rights, handle))
        linux.require(linux.call(_ADD, ruleset, _BENEATH, rule, 0), f"landlock: {path}")
    finally:
        os.close(handle)
