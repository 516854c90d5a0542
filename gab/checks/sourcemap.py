"""From a fault back to the unit and the line of the composed source that it comes from."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from genesys_engine.gab.checks.exceptions import advice_for
from genesys_engine.gab.checks.machine import lacking_here
from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.checks.trace import Call, Trace
from genesys_engine.gab.raised import Frame, Raised, block_file
from genesys_engine.gab.syntax import parse

Place = tuple[str | None, int | None]
_CALLS = 6  # of a trace: the innermost ones


class SourceMap:
    """Knows the classes of one composed source and their lines.

    It reads the source and runs nothing of it.  What the process that does run it says of places
    (names of classes, lines) is taken for what it is: a word, and none of it decides.
    """

    def __init__(self, source: str) -> None:
        """Read `source`; one with a syntax error has no classes."""
        self._source = source.rstrip()
        self._file = block_file(source)
        self._classes: dict[str, ast.ClassDef] = {}
        try:
            tree = parse(source)
        except (SyntaxError, ValueError, RecursionError):
            return
        self._classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}

    @property
    def text(self) -> str:
        """The source."""
        return self._source

    def is_ours(self, filename: str) -> bool:
        """Tell whether a file name in a traceback stands for this source."""
        return filename.startswith(self._file)

    def checked_place(self, unit: Any, line: Any) -> Place:
        """Return a place that somebody named, without what is none of this source."""
        known = unit if isinstance(unit, str) and unit in self._classes else None
        inside = type(line) is int and 0 < line <= self._source.count("\n") + 1
        return known, line if inside else None

    def place_of_line(self, line: int | None) -> Place:
        """Return the unit that `line` belongs to, and the line."""
        for name, node in self._classes.items():
            if line and node.lineno <= line <= (node.end_lineno or node.lineno):
                return name, line
        return None, line

    def place_of_error(self, error: Raised) -> Place:
        """Return where in the source `error`, or what caused it, was raised."""
        if error.line:
            return None, error.line
        lines = [frame.line for frame in self._own(error)]
        if lines:
            return self.place_of_line(lines[-1])
        return self.place_of_error(error.cause) if error.cause is not None else (None, None)

    def place_of_class(self, name: str) -> Place:
        """Return the unit of the name, and its first line."""
        node = self._classes.get(name)
        return (node.name, node.lineno) if node else (None, None)

    def place_of_attribute(self, unit: str, attribute: str) -> Place:
        """Return a unit, and the line where it assigns an attribute of its own."""
        known, line = self.place_of_class(unit)
        return known, self._assignment(known, attribute) or line

    def fault(
        self, code: str, error: Raised, evidence: Mapping[str, Evidence] | None = None
    ) -> Finding:
        """Return the finding that an exception of the block's code amounts to."""
        if "SyntaxError" in error.kinds or (error.cause and "SyntaxError" in error.cause.kinds):
            code = "load.syntax"
        text = str(error)[:1000]
        if lack := self.lacking_here(error):
            code, text = "machine.unsupported", f"PyTorch has {lack}. {text}"
        place, trace = self.place_of_error(error), self.trace_of(error)
        found = finding(code, text, evidence or {}, place=place, trace=trace)
        advice = advice_for(code, error)
        return replace(found, advice=advice) if advice else found

    def trace_of(self, error: Raised) -> Trace:
        """Return what is known of `error`, or what caused it, where it was raised."""
        own = self._own(error)
        if not own and error.cause is not None and not error.missing:
            return self.trace_of(error.cause)
        from genesys_engine.gab.checks.members import usable  # imports torch

        missing = None if error.missing is None else usable(error.missing)
        return Trace(self.calls(own), missing, error.signature)

    def calls(self, frames: Iterable[Frame]) -> tuple[Call, ...]:
        """Return the calls that frames of this source stand for, the innermost ones."""
        last = self._source.count("\n") + 1
        return tuple(
            Call(
                self.place_of_line(frame.line)[0],
                frame.function,
                frame.line,
                frame.code,
                dict(frame.held),
            )
            for frame in frames
            if self.is_ours(frame.file) and 0 < frame.line <= last
        )[-_CALLS:]

    def lacking_here(self, error: Raised) -> str:
        """Return what PyTorch lacks on this machine, or "" where the block is to blame.

        What the block raises itself never says anything of the machine.
        """
        if error.frames and self.is_ours(error.frames[-1].file):
            lines = self._source.split("\n")
            number = error.frames[-1].line
            if 0 < number <= len(lines) and lines[number - 1].lstrip().startswith("raise"):
                return ""
        return lacking_here(error)

    def is_class(self, name: str) -> bool:
        """Tell whether the source defines a class of the name."""
        return name in self._classes

    def _own(self, error: Raised) -> list[Frame]:
        """Return the frames of this source."""
        return [frame for frame in error.frames if self.is_ours(frame.file)]

    def _assignment(self, unit: str | None, attribute: str) -> int | None:
        for node in ast.walk(self._classes[unit]) if unit else ():
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and node.attr == attribute
            ):
                return node.lineno
        return None
