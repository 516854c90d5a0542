"""System calls that depend on their arguments: which of them the filter lets through.

Where a call has a list of commands (`fcntl`, `ioctl`, `prctl`), the list here is of what is
allowed: each new kernel adds commands, and most of them loosen something.

Source: the kernel's include/uapi (fcntl.h, ioctls.h, prctl.h, sched.h); alike on x86_64 and
aarch64, little-endian both.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
from collections.abc import Iterator, Sequence

from genesys_engine.plugins.sandbox import syscalls
from genesys_engine.plugins.sandbox.syscalls import Numbers

Instruction = tuple[int, int, int, int]  # code, steps if true, steps if false, constant

LOAD, EQUAL, AT_LEAST, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
ALLOWED: Instruction = (RETURN, 0, 0, ALLOW)
REFUSED: Instruction = (RETURN, 0, 0, ERRNO | errno.EPERM)

_ARGUMENTS = 16
_CLONE_THREAD = 0x10000
# New namespaces, a tracer, a child of our parent's.
_CLONE_OUTSIDE = 0x7E020000 | 0x00802000 | 0x00008000
_CLONE_SIGNAL = 0xFF  # what the end of a child sends to its parent
_SOCKET_TYPE = 0xF  # without the flags that are given with it

# Names and copies of a descriptor, its flags, locks and the size of a pipe.  Not: the owner, the
# signal or the lease by which the kernel tells a process of input and output.
_DESCRIPTOR_COMMANDS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1027, 1030, 1032, 1034)
_F_SETFL, _O_ASYNC = 4, 0o20000
# TCGETS, TCGETS2, TIOCGWINSZ; FIONREAD, FIONBIO, FIONCLEX, FIOCLEX; FICLONE.
_DEVICE_COMMANDS = (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x40049409)
_DEVICE_KIND, _TERMINALS, _SOCKETS = 0xFF00, 0x5400, 0x8900
# Names of threads and of memory, and what only reads or tightens.  Not: the parent-death signal,
# who may look into this process, who adopts its orphans, speculation, rights.
_CONTROL_COMMANDS = (
    2, 3, 7, 15, 16, 21, 23, 27, 29, 30, 38, 39, 42, 51, 52, 56, 64, 66, 0x53564D41, 0x41555856,
)  # fmt: skip


def bodies(
    pid: int, *, compiles: bool, accelerator: bool
) -> Iterator[tuple[Numbers, Sequence[Instruction]]]:
    """Yield tables with what decides on their calls for the process `pid`."""
    mine = _one_of(0, (pid, 0))
    for table, place in ((syscalls.SIGNAL, 1), (syscalls.SIGNAL_THREAD, 2)):
        yield table, [*mine, *_none_of(place, (signal.SIGKILL,)), ALLOWED]
    yield syscalls.OWN_PROCESS, [*mine, ALLOWED]
    yield syscalls.CLONE, _clone(compiles=compiles)
    # Landlock before ABI 3 lets a file that may only be read be emptied while it is opened.
    for table, place in ((syscalls.OPEN, 1), (syscalls.OPENAT, 2)):
        empties = os.O_RDONLY | os.O_TRUNC
        yield table, [*_none_of(place, (empties,), mask=os.O_ACCMODE | os.O_TRUNC), ALLOWED]
    # A pair of streams talks to itself; any other kind can name whom it sends to.
    pair = _one_of(0, (socket.AF_UNIX,))
    yield syscalls.PAIR, [*pair, *_one_of(1, (socket.SOCK_STREAM,), mask=_SOCKET_TYPE), ALLOWED]
    yield syscalls.SEND, [*_absent(4), ALLOWED]
    asynchronous = _none_of(2, (_O_ASYNC,), mask=_O_ASYNC)
    flags = [_load(1), (EQUAL, 0, len(asynchronous), _F_SETFL), *asynchronous]
    yield syscalls.DESCRIPTOR, [*flags, *_one_of(1, _DESCRIPTOR_COMMANDS), ALLOWED]
    yield syscalls.DEVICE, _device(accelerator=accelerator)
    yield syscalls.CONTROL, [*_one_of(0, _CONTROL_COMMANDS), ALLOWED]
    # At its limit on processor time a process gets SIGKILL, as if somebody else had sent it.
    yield syscalls.LIMIT, [*_none_of(0, (resource.RLIMIT_CPU,)), ALLOWED]
    reads = _absent(2)
    limit = [_load(1), (EQUAL, 0, len(reads), resource.RLIMIT_CPU), *reads]
    yield syscalls.LIMIT_OF, [*mine, *limit, ALLOWED]


def _clone(*, compiles: bool) -> list[Instruction]:
    """Allow threads; where the job compiles, processes too, which end with SIGCHLD or nothing."""
    inside = [_load(0), (ANY_BIT, 0, 1, _CLONE_OUTSIDE), REFUSED]
    thread = [*inside, (ANY_BIT, 0, 1, _CLONE_THREAD), ALLOWED]
    if not compiles:
        return [*thread, REFUSED]
    return [*thread, *_one_of(0, (signal.SIGCHLD, 0), mask=_CLONE_SIGNAL), ALLOWED]


def _device(*, accelerator: bool) -> list[Instruction]:
    """Allow what any program asks of its files; to a job with an accelerator also its driver."""
    if not accelerator:
        return [*_one_of(1, _DEVICE_COMMANDS), ALLOWED]
    outside = [(AND, 0, 0, _DEVICE_KIND), *_none((_TERMINALS, _SOCKETS))]
    return [_load(1), *_skip_if(_DEVICE_COMMANDS, len(outside)), *outside, ALLOWED]


def _load(place: int, *, high: bool = False) -> Instruction:
    """Load the lower half of an argument, or its higher one."""
    return LOAD, 0, 0, _ARGUMENTS + 8 * place + 4 * high


def _skip_if(values: Sequence[int], steps: int) -> list[Instruction]:
    """Go `steps` further than to the end of these tests where one of them holds."""
    return [(EQUAL, len(values) - 1 - i + steps, 0, value) for i, value in enumerate(values)]


def _masked(place: int, mask: int | None) -> list[Instruction]:
    return [_load(place)] if mask is None else [_load(place), (AND, 0, 0, mask)]


def _one_of(place: int, values: Sequence[int], *, mask: int | None = None) -> list[Instruction]:
    """Refuse the call unless an argument, or its bits in `mask`, is among `values`."""
    return [*_masked(place, mask), *_skip_if(values, 1), REFUSED]


def _none_of(place: int, values: Sequence[int], *, mask: int | None = None) -> list[Instruction]:
    """Refuse the call where an argument, or its bits in `mask`, is among `values`."""
    return [*_masked(place, mask), *_none(values)]


def _none(values: Sequence[int]) -> list[Instruction]:
    """Refuse the call where what was loaded is among `values`."""
    return [step for value in values for step in ((EQUAL, 0, 1, value), REFUSED)]


def _absent(place: int) -> list[Instruction]:
    """Refuse the call unless a pointer is null."""
    low = [_load(place), (EQUAL, 1, 0, 0), REFUSED]
    return [*low, _load(place, high=True), (EQUAL, 1, 0, 0), REFUSED]
