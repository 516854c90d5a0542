"""Exceptions of a candidate, raised in another process, as data.

`describe` writes it down where it was raised, `read` takes it where it is judged: every text is
bounded and without control characters, every list has an end.  All of it is the candidate's word.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

from genesys_engine.gab.errors import GenesysError
from genesys_engine.gab.memory import is_memory_error

_TEXT, _NAME = 2000, 200  # characters
_KINDS, _FRAMES, _CAUSES = 16, 64, 4
_SHAPES = 12


def block_file(source: str) -> str:
    """Return how the name of the file begins that a source has in tracebacks, once it is loaded."""
    return f"<genesys_block_{hashlib.sha256(source.encode()).hexdigest()[:12]}_"


@dataclass(frozen=True)
class Frame:
    """One call on the way to where it was raised; `shapes` are those of the tensors it held."""

    file: str
    line: int
    shapes: str = ""


@dataclass(frozen=True)
class Raised:
    """An exception: `kinds` are the names of its class and of all that this is derived from.

    `memory` says that it is a lack of memory; `line` is where a syntax error was found.  `frames`
    are the innermost ones, in the order in which they were called.
    """

    kinds: tuple[str, ...]
    text: str
    memory: bool = False
    line: int | None = None
    frames: tuple[Frame, ...] = ()
    cause: Raised | None = None

    def __str__(self) -> str:
        """Return class and text."""
        return f"{self.kinds[0]}: {self.text}"

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


def describe(error: BaseException, causes: int = _CAUSES) -> Raised:
    """Return the message of a caught exception; never raises."""
    kinds = [_clean(kind.__name__, _NAME) for kind in type(error).__mro__[:-1]]
    line = error.lineno if isinstance(error, SyntaxError) else None
    cause = error.__cause__ or error.__context__
    return Raised(
        tuple(kinds[:_KINDS]),
        _clean(_message(error), _TEXT),
        is_memory_error(error) and not _is_of_processor(error),
        line if type(line) is int else None,
        tuple(_frames(error)),
        describe(cause, causes - 1) if cause is not None and causes else None,
    )


def read(data: Any, causes: int = _CAUSES) -> Raised:
    """Return what `Raised.to_json` wrote in another process.

    Raises:
        ValueError, TypeError: it is not of that form.
    """
    fields = dict(data)
    kinds, frames = list(fields.pop("kinds")), list(fields.pop("frames"))
    text, memory = fields.pop("text"), fields.pop("memory")
    line, cause = fields.pop("line"), fields.pop("cause")
    if fields or not kinds or len(kinds) > _KINDS or len(frames) > _FRAMES:
        raise ValueError("an exception of no known form")
    if type(memory) is not bool or (line is not None and type(line) is not int):
        raise ValueError("an exception without truth or number")
    if cause is not None and not causes:
        raise ValueError("an exception with too many causes")
    return Raised(
        tuple(_text(kind, _NAME) for kind in kinds),
        _text(text, _TEXT),
        memory,
        line,
        tuple(_frame(frame) for frame in frames),
        None if cause is None else read(cause, causes - 1),
    )


def _frame(data: Mapping[str, Any]) -> Frame:
    file, line, shapes = data["file"], data["line"], data["shapes"]
    if type(line) is not int:
        raise ValueError("a frame without a line")
    return Frame(_text(file, _NAME), line, _text(shapes, _TEXT))


def _frames(error: BaseException) -> Iterator[Frame]:
    called = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    for frame, line in called[-_FRAMES:]:
        file = _clean(frame.f_code.co_filename, _NAME)
        # Code without a file is the candidate's: what it held tells its author what went wrong.
        yield Frame(file, line or 0, _shapes(frame) if file.startswith("<") else "")


def _shapes(frame: FrameType) -> str:
    try:
        from torch import Tensor

        tensors = [(k, v) for k, v in frame.f_locals.items() if isinstance(v, Tensor)]
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in tensors[:_SHAPES])
    except Exception:  # the candidate's own classes may fail at anything
        return ""
    return _clean(shapes, _TEXT)


def _message(error: BaseException) -> str:
    try:
        return error.message if isinstance(error, GenesysError) else str(error)
    except Exception:  # a candidate's exception may fail at this too
        return "(no message)"


def _is_of_processor(error: BaseException) -> bool:
    """Tell whether oneDNN has no kernel: for want of memory, but more often of the kernel."""
    return "could not create a primitive" in _message(error)


def _text(value: Any, most: int) -> str:
    if not isinstance(value, str):
        raise TypeError("an exception without words")
    return _clean(value, most)


def _clean(text: str, most: int) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in str(text)[:most])
