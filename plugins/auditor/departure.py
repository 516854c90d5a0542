"""Where did the wrong output come from?  A block runs once more, and its own calls are watched.

This runs where the block does: what it finds is evidence for the block's author, and no verdict.
"""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from torch import Tensor

from genesys_engine.gab.raised import Frame, code_at, frame_at

_MOST = 200  # returns that are kept
_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*")


@dataclass(frozen=True)
class _Return:
    """What a call of a `forward` method was given first, what it returned, and the way to it."""

    given: Any
    reply: Any
    calls: list[Frame]

    @property
    def departs(self) -> bool:
        """Whether a tensor of one shape became one of another."""
        output = _output(self.reply)
        both = isinstance(self.given, Tensor) and isinstance(output, Tensor)
        return both and output.shape != self.given.shape


@dataclass
class _Watch:
    """The returns of the source's own `forward` methods, innermost first.

    `made` says for each running call which line first gave a name a tensor of the wrong kind.
    """

    is_ours: Callable[[str], bool]
    is_wrong: Callable[[Any], bool]
    returns: list[_Return] = field(default_factory=list)
    given: dict[FrameType, Any] = field(default_factory=dict)
    made: dict[FrameType, dict[str, int]] = field(default_factory=dict)
    last: dict[FrameType, int] = field(default_factory=dict)

    def on_call(self, frame: FrameType, event: str, given: Any) -> Any:
        """Watch the calls of the source's `forward` methods, and nothing inside others."""
        code = frame.f_code
        if code.co_name != "forward" or not self.is_ours(code.co_filename) or code.co_argcount < 2:
            return None
        self.given[frame] = frame.f_locals.get(code.co_varnames[1])
        self.made[frame], self.last[frame] = {}, frame.f_lineno
        return self.on_event

    def on_event(self, frame: FrameType, event: str, given: Any) -> Any:
        """Note what a line has made, and what a call returns."""
        made = self.made[frame]
        for name, value in frame.f_locals.items():
            if name not in made and self.is_wrong(value):
                made[name] = self.last[frame]
        self.last[frame] = frame.f_lineno
        if event == "return" and given is not None and len(self.returns) < _MOST:
            calls = list(self._calls(frame))[::-1]
            self.returns.append(_Return(self.given[frame], given, calls))
        return self.on_event

    def _calls(self, frame: FrameType) -> Iterator[Frame]:
        """Yield the calls of the source that led to a return, that one first."""
        code = code_at(frame, frame.f_lasti).removeprefix("return ")
        yield frame_at(frame, *self._origin(frame, code.partition(",")[0], code))
        above = frame.f_back
        while above is not None:
            if self.is_ours(above.f_code.co_filename):
                yield frame_at(above, above.f_lineno, code_at(above, above.f_lasti))
            above = above.f_back

    def _origin(self, frame: FrameType, output: str, code: str) -> tuple[int, str]:
        """Return the line and code that made the wrong tensor, back along the names it had."""
        line, made = frame.f_lineno, self.made[frame]
        while earlier := [made[n] for n in _NAME.findall(output) if made.get(n, line) < line]:
            line = max(earlier)
            code = linecache.getline(frame.f_code.co_filename, line).strip()
            output = code.partition("=")[2]
        return line, code


def departure(run: Callable[[], Any], is_ours: Callable[[str], bool], given: Tensor) -> list[Frame]:
    """Return the calls that led to the wrong reply of `run`, innermost last.

    The innermost one is the first `forward` that returns what the block then returns: the same
    shape and dtype, or the very object where that is no tensor.  Where the block raises, it is the
    first `forward` that had returned another shape than it was given.

    Args:
        run: calls the block.
        is_ours: tells the file of the block's source.
        given: the block's input, which its output should be like.
    """
    output = _output(_attempt(run))

    def is_wrong(value: Any) -> bool:
        both = isinstance(value, Tensor) and isinstance(output, Tensor)
        return both and (value.shape, value.dtype) == (output.shape, output.dtype)

    if is_wrong(given):
        return []
    watch = _Watch(is_ours, is_wrong)
    before = sys.gettrace()
    sys.settrace(watch.on_call)
    try:
        reply = _attempt(run)
    finally:
        sys.settrace(before)
    for each in watch.returns:
        wrong = (
            each.departs if reply is None else each.reply is reply or is_wrong(_output(each.reply))
        )
        if wrong:
            return each.calls
    return []


def _attempt(run: Callable[[], Any]) -> Any:
    """Return the reply of the block, None where it raises."""
    try:
        return run()
    except Exception:  # it is known: what was returned before that is looked for
        return None


def _output(reply: Any) -> Any:
    return reply[0] if isinstance(reply, tuple) and len(reply) == 2 else reply
