"""What the engine, the template process and a job say to each other, and how much of it.

Everything is JSON.  Between the engine and the template it travels in frames (four bytes of
length, big-endian, then UTF-8).  What a job is asked (its payload) is in no frame: it is a file
without a name that the engine hands on and the job alone reads, so that neither the template nor
a process that runs a candidate's code ever has it in its memory.  A job answers its template with
one JSON object on a pipe.  What comes from a job is untrusted: its size is bounded while it is
read, and its form is checked in `judge`.
"""

from __future__ import annotations

import json
import math
import os
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

MAX_FRAME_BYTES = 64 << 20
MAX_REPLY_BYTES = 8 << 20
MAX_REPLY_DEPTH = 64
MAX_REASON_CHARACTERS = 2000
LOG_NAME = "output.log"
LOG_HEAD_BYTES = 256 << 10
LOG_TAIL_BYTES = 16 << 10

_HEADER = struct.Struct(">I")


@dataclass(frozen=True)
class Limits:
    """What one isolated job may use.

    `wall_s` is wall-clock time; CPU time is bounded by that much on every core.
    `memory_bytes` counts the addresses that the job may map beyond those of the warm template;
    0 means unlimited.  `file_bytes` bounds every single file that it writes, `disk_bytes` all of
    them.  `readable` are files and folders that it may read next to the interpreter, the
    installed packages and its scratch folder.  `accelerator` leaves the device files of a GPU
    open; since its driver reserves far more addresses than it uses, memory is then counted as
    private data instead.  `compiles` opens the compile profile (`toolchain`): the job may start
    the programs of the tool chain, and no other.

    `subject` ("module:function") gives the job a second process, in which that function's
    operations are served (`subject`): there a candidate's code runs, and there alone.  The limits
    hold for each of the two processes; the subject reads no `readable` but `subject_readable`,
    its scratch is a folder inside the job's, and it alone compiles.  There may be several
    `subjects` of the kind, which know nothing of each other.
    """

    wall_s: float = 120.0
    memory_bytes: int = 4 << 30
    file_bytes: int = 1 << 30
    disk_bytes: int = 8 << 30
    readable: tuple[str, ...] = ()
    accelerator: bool = False
    compiles: bool = False
    subject: str = ""
    subjects: int = 1
    subject_readable: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Limits:
        """Return the limits that travelled as JSON."""
        limits: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        return cls(**limits)


def processor_s(limits: Limits) -> int:
    """Return the seconds of processor time that a job may use: its time on every core."""
    return math.ceil(limits.wall_s * (os.cpu_count() or 1)) + 1


Status = Literal["ok", "error", "timeout", "memory", "crashed", "bad_reply", "infrastructure"]


@dataclass(frozen=True)
class Outcome:
    """How an isolated job ended.

    status `ok`: `value` is the JSON object that the job returned.  `error`: it raised, `reason`
    says what.  `timeout`, `memory`, `crashed` (a signal, `os._exit`), `bad_reply` (not JSON, too
    large): it failed on its own account.  `infrastructure`: not the job's fault; ask again.
    `facts` are of the machine (wall_s, cpu_s, max_rss_bytes): never part of a decision.
    """

    status: Status
    value: Mapping[str, Any] | None = None
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A job as the template receives it: run `target` ("module:function") on its payload.

    `devices` are the accelerators that it sees, as CUDA_VISIBLE_DEVICES has them; "": as they are.
    """

    id: int
    target: str
    scratch: str
    limits: Limits
    devices: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the frame that asks for this job."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        """Return the job that a frame asks for."""
        return cls(**{**data, "limits": Limits.from_json(data["limits"])})


Cause = Literal[
    "exit", "deadline", "reply too large", "disk", "processes", "never started", "subject left"
]


@dataclass(frozen=True)
class Ended:
    """What the template saw of a job's end; `judge` turns it into an `Outcome`.

    Exit code and signal are those of the subject where the job left because its subject had.
    `reply` holds what the job wrote on its pipe (None: not UTF-8), `log` the tail of its output,
    `seal` the words that only an honest reply repeats.
    """

    job: int
    cause: Cause
    exit_code: int | None = None
    signal: int | None = None
    reply: str | None = ""
    log: str = ""
    seal: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def encode_frame(message: Mapping[str, Any]) -> bytes:
    """Return `message` as one frame.

    Raises:
        ValueError: it is not JSON (NaN and infinity are not) or too large.
        TypeError: it holds what JSON cannot say.
    """
    body = json.dumps(message, allow_nan=False).encode()
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {len(body)} bytes exceeds {MAX_FRAME_BYTES}")
    return _HEADER.pack(len(body)) + body


def pack_payload(payload: Mapping[str, Any]) -> int:
    """Write a payload into a file without a name and return its descriptor.

    Raises:
        ValueError: it is not JSON (NaN and infinity are not) or too large.
        TypeError: it holds what JSON cannot say.
    """
    body = encode_frame(payload)[_HEADER.size :]
    fd = _nameless_file()
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(body)
    return fd


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("payload")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def unpack_payload(fd: int) -> dict[str, Any]:
    """Return the payload that `pack_payload` wrote, however often it was read before."""
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        payload: dict[str, Any] = json.load(file)
    return payload


def read_json(text: str | bytes, most_deep: int) -> Any:
    """Return what untrusted JSON says, if all of it can be written down anywhere.

    No number that is not finite or that takes more than 64 bits, no text that is not Unicode
    (half characters are replaced), nothing nested too deep.

    Raises:
        ValueError, RecursionError: it is not of that form.
    """
    data = json.loads(text, parse_int=_int, parse_float=_float, parse_constant=_float)
    return _plain(data, most_deep)


def _int(text: str) -> int:
    number = int(text)
    if abs(number) >= 1 << 63:
        raise ValueError("a whole number of more than 64 bits")
    return number


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _plain(value: Any, most_deep: int, depth: int = 0) -> Any:
    """Return `value` with half characters replaced, which no file and no database takes.

    Raises:
        ValueError: it is nested too deep.
    """
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if depth > most_deep:
        raise ValueError(f"nested deeper than {most_deep}")
    if isinstance(value, dict):
        return {_plain(k, most_deep): _plain(v, most_deep, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(item, most_deep, depth + 1) for item in value]
    return value


class FrameReader:
    """Puts frames together from pieces as they arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Take the next bytes and return every message that is now complete."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._buffer)
            end = _HEADER.size + length
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes exceeds {MAX_FRAME_BYTES}")
            if len(self._buffer) < end:
                break
            messages.append(json.loads(self._buffer[_HEADER.size : end]))
            del self._buffer[:end]
        return messages
