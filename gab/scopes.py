"""Which names in a source mean a top-level binding, and where they stand.

Renaming by text replacement corrupts local variables, keywords, attributes and strings that are
spelled alike.  Here every name is resolved as Python resolves it (function, class and
comprehension scopes), and only the bytes of names that mean the top-level binding are replaced,
so comments and formatting survive.

One liberty is taken: a name that a class body binds means the class's own everywhere directly in
that body, although Python would look outside before the binding has run (`F = F`).
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from genesys_engine.gab.syntax import Visitor, children, parse_expression, walk

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
BUILTINS = frozenset(dir(builtins)) | {"__class__", "__file__", "__name__"}
_DEFINITION = re.compile(rb"(?:async[\s\\]+)?(?:def|class)[\s\\]+")


@dataclass(frozen=True)
class Reference:
    """A place, in bytes of the UTF-8 source, that names the top-level bindings `names`.

    A place is one name, or a whole f-string: positions inside f-strings are only right from
    Python 3.12 on.
    """

    start: int
    end: int
    names: tuple[str, ...]
    is_fstring: bool = False


class Lines:
    """Turns the (line, column) of a syntax tree into byte offsets of the source."""

    def __init__(self, source: str) -> None:
        self.data = source.encode()
        self._starts = [0]
        for line in self.data.split(b"\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)

    def offset(self, line: int, column: int) -> int:
        """Return the byte offset of a 1-based line and a 0-based byte column."""
        return self._starts[line - 1] + column

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Return the byte offsets at which the node begins and ends."""
        end_line, end_column = node.end_lineno, node.end_col_offset
        assert end_line is not None, "the node does not come from a source"
        assert end_column is not None, "the node does not come from a source"
        return self.offset(node.lineno, node.col_offset), self.offset(end_line, end_column)

    def whole(self, node: ast.stmt, *, comments: bool = False) -> tuple[int, int]:
        """Return the offsets of a statement's whole lines and the blank lines after them.

        With `comments`, comment lines that stand directly above belong to it.
        """
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
        last = node.end_lineno or node.lineno
        lines = self.data.split(b"\n")
        while comments and first > 0 and lines[first - 1].startswith(b"#"):
            first -= 1
        while last < len(lines) and not lines[last].strip():
            last += 1
        return self._starts[first], min(self._starts[last], len(self.data))


def references(
    statement: ast.stmt, names: Iterable[str], lines: Lines
) -> tuple[list[Reference], set[str]]:
    """Find where a top-level statement names one of the module's bindings `names`.

    Returns the places, in order, and the set of bindings named (its own included when it is a
    definition that calls itself).
    """
    finder = _Finder(frozenset(names), lines)
    finder.visit(statement)
    return sorted(finder.found, key=lambda place: place.start), finder.used


def undefined_names(statement: ast.stmt, names: Iterable[str]) -> dict[str, int]:
    """Return the names used that nothing binds, neither a scope, nor `names`, nor Python."""
    finder = _Finder(frozenset(names), None)
    finder.visit(statement)
    return {name: line for name, line in finder.free.items() if name not in BUILTINS}


def names_at(statement: ast.stmt, names: Iterable[str], missing: str) -> set[str]:
    """Return the names that are bound where a statement first uses the unbound name `missing`."""
    finder = _Finder(frozenset(names), None)
    finder.visit(statement)
    return finder.around.get(missing, set())


def replace(data: bytes, edits: Iterable[tuple[int, int, bytes]]) -> bytes:
    """Return `data` with each (start, end) replaced; the ranges must not overlap."""
    pieces, at = [], 0
    for start, end, text in sorted(edits):
        assert start >= at, "edits overlap"
        pieces += [data[at:start], text]
        at = end
    return b"".join([*pieces, data[at:]])


def rename_fstring(text: str, names: Mapping[str, str]) -> str:
    """Return an f-string's source with names renamed (it is written anew: layout may change)."""
    expression = parse_expression(f"({text})")
    finder = _Finder(frozenset(names), None)
    finder.visit(expression)
    for node in finder.nodes:
        node.id = names[node.id]
    return ast.unparse(expression)


class _Finder(Visitor, ast.NodeVisitor):
    """Walks one statement with the scopes that are open around each name."""

    def __init__(self, names: frozenset[str], lines: Lines | None) -> None:
        self.names = names
        self.lines = lines
        self.scopes: list[tuple[bool, frozenset[str]]] = []  # (is a class body, names bound there)
        self.used: set[str] = set()
        self.nodes: list[ast.Name] = []
        self.found: list[Reference] = []
        self.free: dict[str, int] = {}
        self.around: dict[str, set[str]] = {}  # what is bound where a free name stands

    def _is_local(self, name: str) -> bool:
        """Resolve a name: a class body is seen only by the code that stands directly in it."""
        innermost = len(self.scopes) - 1
        return any(
            name in bound and (not is_class or depth == innermost)
            for depth, (is_class, bound) in enumerate(self.scopes)
        )

    def _bound_here(self) -> set[str]:
        """Return all names that are bound at this place; see `_is_local`."""
        innermost = len(self.scopes) - 1
        inside = (
            b for n, (is_class, b) in enumerate(self.scopes) if not is_class or n == innermost
        )
        return set(self.names).union(*inside)

    def _inside(
        self, nodes: Iterable[ast.AST], bound: Iterable[str], *, is_class: bool = False
    ) -> None:
        self.scopes.append((is_class, frozenset(bound)))
        for node in nodes:
            self.visit(node)
        self.scopes.pop()

    def visit_Name(self, node: ast.Name) -> None:
        if self._is_local(node.id):
            return
        if node.id not in self.names:
            if node.id not in self.free:
                self.free[node.id] = node.lineno
                self.around[node.id] = self._bound_here()
        else:
            self.used.add(node.id)
            self.nodes.append(node)
            if self.lines:
                self.found.append(Reference(*self.lines.span(node), (node.id,)))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        kept, self.found = self.found, []
        self.generic_visit(node)
        inner, self.found = self.found, kept
        if inner and self.lines:
            names = tuple(sorted({name for place in inner for name in place.names}))
            self.found.append(Reference(*self.lines.span(node), names, is_fstring=True))

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        """Record the name in `def name` or `class name` where it is a top-level binding."""
        if self.scopes or node.name not in self.names:
            return
        self.used.add(node.name)
        if self.lines:
            at = self.lines.offset(node.lineno, node.col_offset)
            keyword = _DEFINITION.match(self.lines.data, at)
            assert keyword, "a definition begins with its keyword"
            end = keyword.end() + len(node.name.encode())
            self.found.append(Reference(keyword.end(), end, (node.name,)))

    def _visit_function(self, node: _Function) -> None:
        arguments = node.args
        outside: list[ast.AST | None] = [*arguments.defaults, *arguments.kw_defaults]
        parameters = list(_parameters(arguments))
        if not isinstance(node, ast.Lambda):
            self._define(node)
            outside += [*node.decorator_list, node.returns]
            outside += [parameter.annotation for parameter in parameters]
        for part in outside:
            if part is not None:
                self.visit(part)
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        self._inside(body, {p.arg for p in parameters} | _bound(body))

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._define(node)
        for part in [*node.decorator_list, *node.bases, *node.keywords]:
            self.visit(part)
        self._inside(node.body, _bound(node.body), is_class=True)

    def _visit_comprehension(self, node: _Comprehension) -> None:
        first, *others = node.generators
        self.visit(first.iter)  # evaluated outside
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        inside: list[ast.AST] = [first.target, *first.ifs, *others, *results]
        bound = _bound([generator.target for generator in node.generators])
        self._inside(inside, bound)

    visit_ListComp = visit_SetComp = visit_DictComp = _visit_comprehension  # noqa: N815
    visit_GeneratorExp = _visit_comprehension  # noqa: N815


def _parameters(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    yield from [extra for extra in (arguments.vararg, arguments.kwarg) if extra]


_BINDERS = (
    ast.Name, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp,
    ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Import, ast.ImportFrom, ast.ExceptHandler,
    ast.MatchAs, ast.MatchStar, ast.MatchMapping,
)  # fmt: skip
"""The nodes at which `_bound` stops to look."""


def _bound(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names that these nodes bind in their own scope, not in a scope within."""
    names: set[str] = set()
    queue = list(nodes)
    while queue:
        node = queue.pop()
        if not isinstance(node, _BINDERS):
            queue += children(node)
            continue
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                names.add(name)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
                continue
            case ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                # := in a comprehension binds outside of it
                walrus = [n.target for n in walk(node) if isinstance(n, ast.NamedExpr)]
                queue += walrus
                continue
            case ast.Import() | ast.ImportFrom():
                names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                names.add(name)
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                names.add(name)
        queue += children(node)
    return names
