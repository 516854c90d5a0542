"""What is known of a fault where it happened: the calls that led there, and what they held.

A trace belongs to a finding.  It is evidence for whoever mends the block, and decides nothing: the
candidate's process gave it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from genesys_engine.gab.missing import Missing

_SHOWN = 8  # names in a line
_CODE = 60  # characters of an expression
_EMPTY = ("dict of 0",)  # Z, more often than not
_WORD = re.compile(r"(?<![\w.])self\.\w+|(?<![\w.])\w+")


@dataclass(frozen=True)
class Call:
    """A call of the block's own code; `unit` is the class whose code it is.

    `code` is the expression that was being computed ("" if unknown), `held` says what its names
    stood for: "float32 (2, 31, 64)", "int 4".
    """

    unit: str | None
    function: str
    line: int
    code: str = ""
    held: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trace:
    """The calls that led to a fault, innermost last; what was missing there, and what was called.

    `signature` is that of a function that was called with wrong arguments, "" if none was.
    `returned` is a call that had returned another shape than it was given, before the fault.
    """

    calls: tuple[Call, ...] = ()
    missing: Missing | None = None
    signature: str = ""
    returned: Call | None = None

    def __bool__(self) -> bool:
        """Tell whether it says anything."""
        return bool(self.calls or self.missing or self.signature or self.returned)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trace:
        """Return the trace that `dataclasses.asdict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is not of that form.
        """
        missing, returned = data["missing"], data["returned"]
        return cls(
            tuple(_call(**call) for call in data["calls"]),
            None if missing is None else _missing(**missing),
            _text(data["signature"]),
            None if returned is None else _call(**returned),
        )

    def within(self, unit: str) -> Call | None:
        """Return the innermost call of a unit's code, or else the one that had returned."""
        every = (*reversed(self.calls), *([self.returned] if self.returned else []))
        return next((call for call in every if call.unit == unit), None)


def in_lines(trace: Trace, *, at: Call | None = None, whole: bool = False) -> Iterator[str]:
    """Yield the trace as lines of text: what the failing expression was made of, what is near.

    Args:
        trace: of a finding.
        at: the call that the reader can change; the innermost one where it is left out.
        whole: also list what else the call held.
    """
    last = trace.calls[-1] if trace.calls else None
    at = at or last
    if at is not None:
        used = _used(at, tensors=trace.missing is None)
        if used:
            yield f"{_in(at)}{_listed(used)}"
        rest = {n: words for n, words in at.held.items() if n not in used and words not in _EMPTY}
        if whole and rest:
            yield f"also there: {_listed(rest)}"
        if last is not None and at is not last:
            yield f"raised in {_of(last)}: {_in(last)}{_listed(_used(last, tensors=True))}"
    if trace.returned is not None and trace.returned is not at:
        yield _before(trace.returned)
    if trace.missing is not None:
        yield from _of_missing(trace.missing)
    if trace.signature:
        yield f"signature: {trace.signature}"


def _before(call: Call) -> str:
    given = dict(list(call.held.items())[:1])  # a call holds its arguments first
    made = {name: words for name, words in _used(call, tensors=True).items() if name not in given}
    return f"before that, {_of(call)} took {_listed(given)} and returned {_listed(made)}"


def _of(call: Call) -> str:
    return f"{call.unit}.{call.function}" if call.unit else call.function


def _in(call: Call) -> str:
    short = f"{call.code[: _CODE - 3]}..." if len(call.code) > _CODE else call.code
    return f"in `{short}`: " if short else ""


def _used(call: Call, *, tensors: bool) -> dict[str, str]:
    """Return what the names of the failing expression stood for; without any, all tensors."""
    named = dict.fromkeys(_WORD.findall(call.code))
    held = {name: words for name, words in call.held.items() if words not in _EMPTY}
    found = {name: held[name] for name in named if name in held}
    if found or not tensors:
        return found
    return {name: held for name, held in call.held.items() if held.endswith(")")}


def _listed(held: Mapping[str, str]) -> str:
    shown = [f"{name} {words}" for name, words in list(held.items())[:_SHOWN]]
    return "; ".join([*shown, *(["..."] if len(held) > _SHOWN else [])])


def _of_missing(missing: Missing) -> Iterator[str]:
    if missing.nearest:
        yield f"nearest to {missing.name!r}: {', '.join(missing.nearest)}"
    if missing.known and not missing.owner.endswith("()"):  # its signature says more
        known = f"{missing.owner} has" if missing.owner else "names in scope"
        yield f"{known}: {', '.join(missing.known)}"


def _call(unit: Any, function: Any, line: Any, code: Any, held: Any) -> Call:
    if not isinstance(unit, str | None) or type(line) is not int:
        raise TypeError("a call without a valid place")
    return Call(unit, _text(function), line, _text(code), {_text(k): _text(held[k]) for k in held})


def _missing(name: Any, owner: Any, nearest: Any, known: Any) -> Missing:
    return Missing(_text(name), _text(owner), tuple(map(_text, nearest)), tuple(map(_text, known)))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a trace with something else than text")
    return value
