"""Exceptions of a candidate, raised in another process, as data.

`describe` writes it down where it was raised, `read` takes it where it is judged: every text is
bounded and without control characters, every list has an end.  All of it is the candidate's word.
"""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from types import FrameType, TracebackType
from typing import Any

from genesys_engine.gab.errors import GenesysError
from genesys_engine.gab.held import NAMES, WORDS, Held, held_by
from genesys_engine.gab.memory import is_memory_error
from genesys_engine.gab.missing import (
    KNOWN,
    LONGEST,
    NEAREST,
    Missing,
    missing_from,
    signature_of,
)

_TEXT, _NAME, _CODE = 2000, 200, 300  # characters
_KINDS, _FRAMES, _CAUSES = 16, 64, 4
_OPENED = 8  # frames of the candidate whose names are looked at


def block_file(source: str) -> str:
    """Return how the name of the file begins that a source has in tracebacks, once it is loaded."""
    return f"<genesys_block_{hashlib.sha256(source.encode()).hexdigest()[:12]}_"


@dataclass(frozen=True)
class Frame:
    """One call on the way to where it was raised.

    Of the candidate's own code also the `function`, the `code` of the expression that was being
    computed, and what the call's names `held` (name, words).
    """

    file: str
    line: int
    function: str = ""
    code: str = ""
    held: Held = ()


@dataclass(frozen=True)
class Raised:
    """An exception: `kinds` are the names of its class and of all that this is derived from.

    `memory` says that it is a lack of memory; `line` is where a syntax error was found.  `frames`
    are the innermost ones, in the order in which they were called.  `missing` is the name that it
    is about, and `signature` that of what was called with wrong arguments, where they are known.
    """

    kinds: tuple[str, ...]
    text: str
    memory: bool = False
    line: int | None = None
    frames: tuple[Frame, ...] = ()
    cause: Raised | None = None
    missing: Missing | None = None
    signature: str = ""

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
    calls = list(_calls(error))
    last = next((call for call in reversed(calls) if _is_own(call.tb_frame)), None)
    where = (last.tb_frame, code_at(last.tb_frame, last.tb_lasti)) if last is not None else None
    return Raised(
        tuple(kinds[:_KINDS]),
        _clean(_message(error), _TEXT),
        is_memory_error(error) and not _is_of_processor(error),
        line if type(line) is int else None,
        tuple(_frames(calls)),
        describe(cause, causes - 1) if cause is not None and causes else None,
        _lacking(error, *where) if where else None,
        _word(signature_of(error, *where), LONGEST) if where else "",
    )


def frame_at(frame: FrameType, line: int, code: str = "") -> Frame:
    """Return a call of the candidate's own code, with what it holds now."""
    held = tuple((_word(name, _NAME), _word(words, WORDS)) for name, words in held_by(frame))
    file, function = _clean(frame.f_code.co_filename, _NAME), _word(frame.f_code.co_name, _NAME)
    return Frame(file, line, function, _word(code, _CODE), held)


def read(data: Any, causes: int = _CAUSES) -> Raised:
    """Return what `Raised.to_json` wrote in another process.

    Raises:
        ValueError, TypeError: it is not of that form.
    """
    fields = dict(data)
    kinds, frames = list(fields.pop("kinds")), list(fields.pop("frames"))
    text, memory = fields.pop("text"), fields.pop("memory")
    line, cause = fields.pop("line"), fields.pop("cause")
    missing, signature = fields.pop("missing"), fields.pop("signature")
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
        tuple(read_frame(frame) for frame in frames),
        None if cause is None else read(cause, causes - 1),
        None if missing is None else _missing(missing),
        _word(signature, LONGEST),
    )


def read_frame(data: Mapping[str, Any]) -> Frame:
    """Return a frame that another process wrote.

    Raises:
        ValueError, TypeError, KeyError: it is not of that form.
    """
    line, held = data["line"], list(data["held"])
    if type(line) is not int or len(held) > NAMES:
        raise ValueError("a frame without a line, or with too many names")
    words = tuple((_word(name, _NAME), _word(value, WORDS)) for name, value in held)
    file, function = _text(data["file"], _NAME), _word(data["function"], _NAME)
    return Frame(file, line, function, _word(data["code"], _CODE), words)


def _lacking(error: BaseException, frame: FrameType, code: str) -> Missing | None:
    missing = missing_from(error, frame, code)
    try:
        return None if missing is None else _missing(asdict(missing))
    except (TypeError, ValueError):  # the candidate's names may be anything
        return None


def _missing(data: Mapping[str, Any]) -> Missing:
    near, known = list(data["nearest"]), list(data["known"])
    if len(near) > NEAREST or len(known) > KNOWN:
        raise ValueError("a missing name with too many others")
    name, owner = _word(data["name"], _NAME), _word(data["owner"], _NAME)
    return Missing(name, owner, *(tuple(_word(n, _NAME) for n in names) for names in (near, known)))


def _calls(error: BaseException) -> Iterator[TracebackType]:
    """Yield the calls on the way to an exception, outermost first."""
    call = error.__traceback__
    while call is not None:
        yield call
        call = call.tb_next


def _is_own(frame: FrameType) -> bool:
    """Tell whether a call is of code without a file, Python's own left out: the candidate's."""
    file = frame.f_code.co_filename
    return file.startswith("<") and not file.startswith("<frozen ")


def _frames(calls: list[TracebackType]) -> Iterator[Frame]:
    opened = [call for call in calls if _is_own(call.tb_frame)][-_OPENED:]
    for call in calls[-_FRAMES:]:
        if call in opened:  # what it held tells its author what went wrong
            yield frame_at(
                call.tb_frame, call.tb_lineno or 0, code_at(call.tb_frame, call.tb_lasti)
            )
        else:
            file = _clean(call.tb_frame.f_code.co_filename, _NAME)
            yield Frame(file, call.tb_lineno or 0)


def code_at(frame: FrameType, instruction: int) -> str:
    """Return the text of the expression that an instruction computes, "" where it is unknown."""
    code = frame.f_code
    place = next(islice(code.co_positions(), instruction // 2, None), None)
    if place is None or None in place:
        return ""
    first, last, start, end = place
    assert first is not None  # all four are numbers
    assert last is not None
    found = linecache.getlines(code.co_filename)[first - 1 : last]
    lines = [line.encode() for line in found]  # columns count bytes
    if not lines:
        return ""
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    return " ".join(line.decode(errors="replace").strip() for line in lines)


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


def _word(value: Any, most: int) -> str:
    """Return a text that stays on one line."""
    return " ".join(_text(value, most).split())


def _clean(text: str, most: int) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in str(text)[:most])
