"""From a fault back to the unit and the line of the composed source that it comes from."""

from __future__ import annotations

import ast
import linecache
import traceback
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType

from torch import Tensor, nn

from genesys_engine.gab.checks.exceptions import advice_for
from genesys_engine.gab.checks.machine import lacking_here
from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.errors import GenesysError
from genesys_engine.gab.syntax import parse

Place = tuple[str | None, int | None]
_MOST_SHAPES = 12


class SourceMap:
    """Knows the classes of one composed source and their lines."""

    def __init__(self, source: str) -> None:
        """Read `source`; one with a syntax error has no classes."""
        self._source = source.rstrip()
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
        return "".join(linecache.getlines(filename)).rstrip() == self._source

    def place_of_line(self, line: int | None) -> Place:
        """Return the unit that `line` belongs to, and the line."""
        for name, node in self._classes.items():
            if line and node.lineno <= line <= (node.end_lineno or node.lineno):
                return name, line
        return None, line

    def place_of_error(self, error: BaseException) -> Place:
        """Return where in the source `error`, or what caused it, was raised."""
        if isinstance(error, SyntaxError) and error.lineno:
            return None, error.lineno
        lines = [line for frame, line in _frames(error.__traceback__) if self.is_ours(frame)]
        if lines:
            return self.place_of_line(lines[-1])
        cause = error.__cause__ or error.__context__
        return self.place_of_error(cause) if cause is not None else (None, None)

    def place_of_class(self, module: nn.Module) -> Place:
        """Return the unit that `module` is an instance of, and its first line."""
        node = self._classes.get(type(module).__name__)
        return (node.name, node.lineno) if node else (None, None)

    def place_of_reply(self, module: nn.Module) -> Place:
        """Return the unit that `module` is an instance of, and the line of its last return."""
        unit, line = self.place_of_class(module)
        for part in self._classes[unit].body if unit else ():
            if isinstance(part, ast.FunctionDef) and part.name == "forward":
                returns = [n.lineno for n in ast.walk(part) if isinstance(n, ast.Return)]
                line = max(returns, default=line)
        return unit, line

    def place_of_parameter(self, root: nn.Module, name: str) -> Place:
        """Return the innermost unit that holds the parameter, and where it assigns it."""
        module, place, attribute = root, self.place_of_class(root), name.split(".")[0]
        parts = name.split(".")
        for i, part in enumerate(parts[:-1]):
            module = getattr(module, part)
            if self.is_unit(module):
                place, attribute = self.place_of_class(module), parts[i + 1]
        unit, line = place
        return unit, self._assignment(unit, attribute) or line

    def fault(
        self, code: str, error: Exception, evidence: Mapping[str, Evidence] | None = None
    ) -> Finding:
        """Return the finding that an exception of the block's code amounts to.

        Raises:
            MemoryError: it is a lack of memory, which is the worker's to report.
        """
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            raise MemoryError(str(error)) from error
        if isinstance(error, SyntaxError) or isinstance(error.__cause__, SyntaxError):
            code = "load.syntax"
        text = error.message if isinstance(error, GenesysError) else str(error)
        text = f"{type(error).__name__}: {text}"[:1000]
        if lack := self.lacking_here(error):
            code, text = "machine.unsupported", f"PyTorch has {lack}. {text}"
        said = dict(evidence or {})
        if code == "forward.error" and (shapes := self._shapes(error)):
            said["shapes"] = shapes
        found = finding(code, text, said, place=self.place_of_error(error))
        advice = advice_for(code, error)
        return replace(found, advice=advice) if advice else found

    def lacking_here(self, error: BaseException) -> str:
        """Return what PyTorch lacks on this machine, or "" where the block is to blame.

        What the block raises itself never says anything of the machine.
        """
        frames = list(traceback.walk_tb(error.__traceback__))
        if frames and self.is_ours(frames[-1][0].f_code.co_filename):
            lines = self._source.split("\n")
            number = frames[-1][1]
            if number <= len(lines) and lines[number - 1].lstrip().startswith("raise"):
                return ""
        return lacking_here(error)

    def _shapes(self, error: BaseException) -> str:
        """Return the shapes of the tensors that the failing function of the block held."""
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        own = [frame for frame in frames if self.is_ours(frame.f_code.co_filename)]
        held = own[-1].f_locals if own else {}
        tensors = [(k, v) for k, v in held.items() if isinstance(v, Tensor)][:_MOST_SHAPES]
        return ", ".join(f"{name} {tuple(value.shape)}" for name, value in tensors)

    def is_unit(self, module: nn.Module) -> bool:
        """Tell whether the class of `module` stands in the source."""
        return type(module).__name__ in self._classes and not _is_library(module)

    def _assignment(self, unit: str | None, attribute: str) -> int | None:
        for node in ast.walk(self._classes[unit]) if unit else ():
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and node.attr == attribute
            ):
                return node.lineno
        return None


def _frames(trace: TracebackType | None) -> list[tuple[str, int]]:
    return [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(trace)]


def _is_library(module: nn.Module) -> bool:
    return type(module).__module__.startswith(("torch.", "genesys_engine."))
