"""A filter on system calls: what no block needs is refused by the kernel (Linux, seccomp-bpf).

The filter is a list of what is refused, since what PyTorch, libc and CUDA call differs from
version to version; calls that are younger than the list are refused as unknown.  It closes what
Landlock leaves open (metadata of files, sockets, signals, other processes).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from genesys_engine.plugins.sandbox import linux, syscalls
from genesys_engine.plugins.sandbox.arguments import (
    ALLOWED,
    AT_LEAST,
    EQUAL,
    ERRNO,
    KILL,
    LOAD,
    REFUSED,
    RETURN,
    Instruction,
    bodies,
)
from genesys_engine.plugins.sandbox.syscalls import Numbers, numbers

_SECCOMP: Numbers = {"seccomp": syscalls.SYSTEM["seccomp"]}
_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
# Without it kernels before 5.16 switch a guess of the processor off, and all arithmetic slows.
_SPEC_ALLOW = 4

_NUMBER, _ARCHITECTURE = 0, 4


def available() -> bool:
    """Tell whether the kernel filters calls and this processor's numbers are known."""
    if syscalls.architecture() is None:
        return False
    action = ctypes.c_uint32(ERRNO)
    number = numbers(_SECCOMP)[0]
    return linux.call(number, _GET_ACTION_AVAIL, 0, ctypes.addressof(action)) == 0


def confine(*, compiles: bool = False, accelerator: bool = False) -> None:
    """Put the filter on this process for good; its threads, and its programs, inherit it.

    Raises:
        OSError: the kernel refused.
    """
    filters = program(os.getpid(), compiles=compiles, accelerator=accelerator)
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in filters)
    buffer = ctypes.create_string_buffer(code)
    header = ctypes.create_string_buffer(struct.pack("@HP", len(filters), ctypes.addressof(buffer)))
    linux.no_new_privileges()
    number = numbers(_SECCOMP)[0]
    linux.require(
        linux.call(number, _SET_MODE_FILTER, _SPEC_ALLOW, ctypes.addressof(header)), "seccomp"
    )


def program(pid: int, *, compiles: bool = False, accelerator: bool = False) -> list[Instruction]:
    """Return the filter for the process `pid`: first match decides, what is left is allowed.

    Where it `compiles`, processes and programs may be started; they cannot leave its group.  With
    an `accelerator` its driver may be asked for anything.
    """
    unknown = (RETURN, 0, 0, ERRNO | errno.ENOSYS)
    no_socket = (RETURN, 0, 0, ERRNO | errno.EACCES)
    found: list[Instruction] = [
        (LOAD, 0, 0, _ARCHITECTURE),
        (EQUAL, 1, 0, syscalls.architecture() or 0),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, _NUMBER),
        (AT_LEAST, 0, 1, syscalls.NEWEST_KNOWN + 1),  # the calls of x32 too
        unknown,
    ]
    starting = syscalls.SESSIONS if compiles else syscalls.PROGRAMS
    for table in (starting, *syscalls.REFUSED):
        found += _answer(table, [REFUSED])
    found += _answer(syscalls.SOCKETS, [no_socket])
    found += _answer(syscalls.OPAQUE, [unknown])
    for table, body in bodies(pid, compiles=compiles, accelerator=accelerator):
        found += _answer(table, body)
    return [*found, ALLOWED]


def _answer(table: Numbers, body: Sequence[Instruction]) -> list[Instruction]:
    """Return, for every call of a table, a test that skips `body` for other calls."""
    return [
        instruction
        for number in numbers(table)
        for instruction in ((EQUAL, 0, len(body), number), *body)
    ]
