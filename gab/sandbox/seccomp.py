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

from genesys_engine.gab.sandbox import linux, syscalls
from genesys_engine.gab.sandbox.syscalls import Numbers, numbers

_SECCOMP: Numbers = {"seccomp": (317, 277)}
_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
# Without it kernels before 5.16 switch a guess of the processor off, and all arithmetic slows.
_SPEC_ALLOW = 4

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_CLONE_THREAD = 0x10000
# New namespaces, a tracer, a child of our parent's.
_CLONE_OUTSIDE = 0x7E020000 | 0x00802000 | 0x00008000

Instruction = tuple[int, int, int, int]  # code, steps if true, steps if false, constant


def available() -> bool:
    """Tell whether the kernel filters calls and this processor's numbers are known."""
    if syscalls.architecture() is None:
        return False
    action = ctypes.c_uint32(_ERRNO)
    number = numbers(_SECCOMP)[0]
    return linux.call(number, _GET_ACTION_AVAIL, 0, ctypes.addressof(action)) == 0


def confine(*, compiles: bool = False) -> None:
    """Put the filter on this process for good; its threads, and its programs, inherit it.

    Raises:
        OSError: the kernel refused.
    """
    filters = program(os.getpid(), compiles=compiles)
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in filters)
    buffer = ctypes.create_string_buffer(code)
    header = ctypes.create_string_buffer(struct.pack("@HP", len(filters), ctypes.addressof(buffer)))
    linux.no_new_privileges()
    number = numbers(_SECCOMP)[0]
    linux.require(
        linux.call(number, _SET_MODE_FILTER, _SPEC_ALLOW, ctypes.addressof(header)), "seccomp"
    )


def program(pid: int, *, compiles: bool = False) -> list[Instruction]:
    """Return the filter for the process `pid`: first match decides, what is left is allowed.

    Where it `compiles`, processes and programs may be started; they cannot leave its group.
    """
    refused = _ERRNO | errno.EPERM
    unknown = _ERRNO | errno.ENOSYS
    found: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, syscalls.architecture() or 0),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, syscalls.NEWEST_KNOWN + 1),  # the calls of x32 too
        (_RETURN, 0, 0, unknown),
    ]
    starting = syscalls.SESSIONS if compiles else syscalls.PROGRAMS
    tables = (syscalls.METADATA, syscalls.PROCESSES, syscalls.LASTING, syscalls.SYSTEM)
    for table in (starting, *tables):
        found += _answer(table, [(_RETURN, 0, 0, refused)])
    found += _answer(syscalls.SOCKETS, [(_RETURN, 0, 0, _ERRNO | errno.EACCES)])
    found += _answer(syscalls.OPAQUE, [(_RETURN, 0, 0, unknown)])
    flags = (_LOAD, 0, 0, _ARGUMENTS)
    begin = [flags, (_ANY_BIT, 1, 0, _CLONE_THREAD)]
    if compiles:
        begin = [flags, (_ANY_BIT, 2, 0, _CLONE_THREAD), (_ANY_BIT, 0, 1, _CLONE_OUTSIDE)]
    found += _answer(syscalls.CLONE, [*begin, *_verdict(refused)])
    mine = [(_LOAD, 0, 0, _ARGUMENTS), (_EQUAL, 2, 0, pid), (_EQUAL, 1, 0, 0)]
    found += _answer(syscalls.OWN_PROCESS, [*mine, *_verdict(refused)])
    # Landlock before ABI 3 lets a file that may only be read be emptied while it is opened.
    for table, place in ((syscalls.OPEN, 1), (syscalls.OPENAT, 2)):
        flags = (_LOAD, 0, 0, _ARGUMENTS + 8 * place)
        mask, empties = (_AND, 0, 0, os.O_ACCMODE | os.O_TRUNC), os.O_RDONLY | os.O_TRUNC
        found += _answer(table, [flags, mask, (_EQUAL, 0, 1, empties), *_verdict(refused)])
    return [*found, (_RETURN, 0, 0, _ALLOW)]


def _answer(table: Numbers, body: list[Instruction]) -> list[Instruction]:
    """Return, for every call of a table, a test that skips `body` for other calls."""
    return [
        instruction
        for number in numbers(table)
        for instruction in ((_EQUAL, 0, len(body), number), *body)
    ]


def _verdict(refused: int) -> list[Instruction]:
    """Return "refuse" and, one step further, "allow"."""
    return [(_RETURN, 0, 0, refused), (_RETURN, 0, 0, _ALLOW)]
