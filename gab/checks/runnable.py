"""The part of a module that can run when it is loaded as a block: the part that is judged.

Published modules hold code that never runs where they are imported: a self test, imports for a
type checker, kernels that are used where they are installed.  It is cut out of the syntax tree
before the language is looked at, and the loader compiles that same tree: what is left out is
judged by nobody and runs nowhere.  Four kinds are cut:

* branches of a condition that is known: `__name__ == "__main__"`, `TYPE_CHECKING`, a constant, a
  name that the module binds once and to False;
* in a `try` that survives an ImportError, an import that the language refuses: as if it were not
  installed;
* imports, functions and classes at the top level that only such code names;
* `torch.compile`, which becomes the identity in all its forms: training compiles whole models
  where `[trainer] compile` asks for it, and a check may start no compiler.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from genesys_engine.gab.checks.guard import is_refused
from genesys_engine.gab.checks.names import binds
from genesys_engine.gab.syntax import Import, imports, parse, parse_expression

_CHECKING = frozenset({"typing.TYPE_CHECKING", "typing_extensions.TYPE_CHECKING"})
_COMPILE = "torch.compile"
_IDENTITY = "(lambda model=None, **options: (lambda model: model) if model is None else model)"
_CATCHING = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_MISSING = "ModuleNotFoundError"
# Without one of these a module has nothing that would be cut, and need not be looked through.
_HINTS = re.compile(
    r"__name__|TYPE_CHECKING|\bcompile\b|\bexcept\b|^\w+\s*(:.*)?=\s*False\b"
    r"|\b(if|elif|and|or)\s+(not\s+)?(0|1|True|False|None)\b|\b(0|1|True|False|None)\s+(and|or)\b",
    re.MULTILINE,
)
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_N = TypeVar("_N", bound=ast.AST)


@dataclass(frozen=True)
class LeftOut:
    """Something that the module does and the engine leaves out: `what` it is, in a line."""

    line: int
    what: str


@dataclass(frozen=True)
class Runnable:
    """The tree that is judged and loaded, and what its author should hear of the rest."""

    module: ast.Module
    left_out: tuple[LeftOut, ...]


@lru_cache(maxsize=8)  # a check judges a source, and then loads it
def runnable(source: str, keep: frozenset[str] = frozenset({"Block"})) -> Runnable:
    """Return what can run of a module; `keep` are the classes that are asked for.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: it cannot be read (`UNREADABLE`).
    """
    module = parse(source)
    if not _HINTS.search(source):
        return Runnable(module, ())
    reported: dict[tuple[int, str], LeftOut] = {}
    cut: list[ast.AST] = []
    while True:  # a name that was bound to a condition is known once that is a constant
        cutter = _Cutter(_Names(module))
        module = cutter.visit(module)
        cut += cutter.cut
        reported |= {(each.line, each.what): each for each in cutter.left_out}
        if not cutter.cut:
            break
    if cut:
        _drop_what_only_names(module, cut, keep)
        ast.fix_missing_locations(module)
    return Runnable(module, tuple(sorted(reported.values(), key=lambda each: each.line)))


class _Names:
    """The meaning of a module's names, over all scopes, erring on the safe side."""

    def __init__(self, module: ast.Module) -> None:
        self.imported: dict[str, Import] = {}
        self.bound: Counter[str] = Counter()
        self.times: Counter[tuple[str, str]] = Counter()  # an import binds a name to a target
        self.false: set[str] = set()
        for node in ast.walk(module):
            self.bound.update(binds(node))
            if isinstance(node, ast.Import | ast.ImportFrom):
                items = list(imports(node))
                self.imported |= {item.bound: item for item in items}
                self.times.update((item.bound, item.target) for item in items)
        for statement in module.body:
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=False))
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=False))
                ):
                    self.false.add(name)

    def target(self, node: ast.expr) -> str:
        """Return the dotted target of a chain of attributes that begins at an import, or ""."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.imported:
            return ""
        return ".".join([self.imported[node.id].target, *reversed(parts)])

    def truth(self, test: ast.expr) -> bool | None:
        """Return the value of a condition when the module is loaded as a block, None if unknown."""
        match test:
            case ast.Constant(value=bool() | int() | None as value):
                return bool(value)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.truth(operand)
                return None if inner is None else not inner
            case ast.BoolOp(op=op, values=values):
                known = [self.truth(value) for value in values]
                decisive = isinstance(op, ast.Or)
                if decisive in known:
                    return decisive
                return None if None in known else not decisive
            case ast.Name(id=name) if name in self.false and self.bound[name] == 1:
                return False
            case ast.Name(id=root) | ast.Attribute(value=ast.Name(id=root)):
                checking = self.target(test) in _CHECKING
                return False if checking and self._bound_to_one(root) else None
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._compared(left, op, right)
        return None

    def _bound_to_one(self, name: str) -> bool:
        """Tell whether all that binds a name are imports of one target."""
        return self.bound[name] == self.times[name, self.imported[name].target]

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> bool | None:
        """Compare `__name__`, which the loader makes up, with texts."""
        if isinstance(right, ast.Name) and isinstance(op, ast.Eq | ast.NotEq):
            left, right = right, left
        if not isinstance(left, ast.Name) or left.id != "__name__" or self.bound["__name__"]:
            return None
        several = isinstance(right, ast.Tuple | ast.List | ast.Set)
        texts = right.elts if isinstance(right, ast.Tuple | ast.List | ast.Set) else [right]
        if any(not isinstance(t, ast.Constant) or t.value != "__main__" for t in texts):
            return None
        match op:
            case ast.Eq() | ast.NotEq() if not several:
                return isinstance(op, ast.NotEq)
            case ast.In() | ast.NotIn() if several:
                return isinstance(op, ast.NotIn)
        return None


class _Cutter(ast.NodeTransformer):
    """Cuts once through a module; `cut` is what went, `left_out` what its author should hear."""

    def __init__(self, names: _Names) -> None:
        self._names = names
        self._survives = False  # in a try that survives an ImportError
        self.cut: list[ast.AST] = []
        self.left_out: list[LeftOut] = []

    # --- conditions

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        truth = self._names.truth(node.test)
        if truth is None:
            return self.generic_visit(node)
        self.cut += [node.test, *(node.orelse if truth else node.body)]
        # An empty branch leaves a `pass`, since it may be all that a body has.
        kept = node.body if truth else node.orelse
        kept = [statement for part in kept for statement in self._statements(part)]
        return kept or [ast.copy_location(ast.Pass(), node)]

    def _statements(self, statement: ast.stmt) -> list[ast.stmt]:
        visited = self.visit(statement)
        return visited if isinstance(visited, list) else [visited]

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        truth = self._names.truth(node.test)
        if truth is None:
            return self.generic_visit(node)
        self.cut += [node.test, node.orelse if truth else node.body]
        kept: ast.AST = self.visit(node.body if truth else node.orelse)
        return kept

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        truth = self._names.truth(node)
        if truth is None:
            return self.generic_visit(node)
        self.cut.append(node)
        return ast.copy_location(ast.Constant(truth), node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        """Cut what stands behind a value that decides."""
        decisive = isinstance(node.op, ast.Or)
        known = [self._names.truth(value) for value in node.values]
        if decisive in known[:-1]:
            end = known.index(decisive) + 1
            self.cut += node.values[end:]
            node.values = [*node.values[:end], ast.copy_location(ast.Constant(decisive), node)]
            if end == 1:
                return ast.copy_location(ast.Constant(decisive), node)
        return self.generic_visit(node)

    # --- optional imports

    def visit_Try(self, node: ast.Try) -> ast.AST:
        before = self._survives
        self._survives = before or any(map(self._goes_on, node.handlers))
        node.body = [statement for part in node.body for statement in self._statements(part)]
        self._survives = before
        stop = next((i for i, s in enumerate(node.body) if _gives_up(s)), None)
        if stop is not None:
            self.cut += [*node.body[stop + 1 :], *node.orelse]
            node.body, node.orelse = node.body[: stop + 1], []
        for name in ("handlers", "orelse", "finalbody"):
            parts: list[ast.stmt] = getattr(node, name)
            setattr(node, name, [s for part in parts for s in self._statements(part)])
        return node

    def _goes_on(self, handler: ast.ExceptHandler) -> bool:
        """Tell whether a handler continues after an ImportError."""
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        names = {kind.id for kind in kinds if isinstance(kind, ast.Name)}
        catches = handler.type is None or any(not self._names.bound[n] for n in names & _CATCHING)
        return catches and not any(isinstance(n, ast.Raise) for n in ast.walk(handler))

    def visit_Import(self, node: ast.Import) -> ast.AST | list[ast.stmt]:
        return self._import(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.stmt]:
        return self._import(node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> ast.AST | list[ast.stmt]:
        items = list(imports(node))
        refused = [item for item in items if is_refused(item)]
        if refused and self._survives and not self._names.bound[_MISSING]:
            name = refused[0].module
            what = f"No block may import {name!r}; it is optional, and taken as not installed."
            self._leave_out(node, what)
            self.cut.append(node)
            text = f"{_MISSING}({f'{name} is no module that a block may import'!r})"
            return _at(node, ast.Raise(parse_expression(text), None))
        kept = [a for a, i in zip(node.names, items, strict=True) if i.target != _COMPILE]
        if len(kept) < len(items):
            self.cut.append(node)
            cut = type(node)(**{**dict(ast.iter_fields(node)), "names": kept})
            return ast.copy_location(cut if kept else ast.Pass(), node)
        return node

    # --- a function that stands in a try runs elsewhere

    def _visit_function(self, node: _Function) -> ast.AST:
        before, self._survives = self._survives, False
        self.generic_visit(node)
        self._survives = before
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _visit_function  # noqa: N815

    # --- compiling

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self._compile(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return self._compile(node)

    def _compile(self, node: ast.Name | ast.Attribute) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and self._names.target(node) == _COMPILE:
            self._leave_out(
                node, "torch.compile is not applied: what it was to compile runs as it is."
            )
            return _at(node, parse_expression(_IDENTITY))
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Evaluate `getattr(torch, "compile")` and `hasattr(torch, "compile")`."""
        match node:
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr" as how),
                args=[of, ast.Constant(value="compile"), *_],
                keywords=[],
            ) if self._names.target(of) == "torch":
                self.cut.append(node)
                if how == "hasattr":
                    return ast.copy_location(ast.Constant(True), node)
                read = ast.Attribute(of, "compile", ast.Load())
                return self._compile(ast.copy_location(read, node))
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """Cut `layer.compile(...)`, which compiles a module in place, unless the source has it."""
        match node.value:
            case ast.Call(func=ast.Attribute(value=value, attr="compile")) if not self._names.bound[
                "compile"
            ] and not self._names.target(value):
                self._leave_out(node, "`.compile()` is not applied: the module runs as it is.")
                self.cut.append(node)
                return ast.copy_location(ast.Pass(), node)
        return self.generic_visit(node)

    def _leave_out(self, node: ast.stmt | ast.expr, what: str) -> None:
        self.left_out.append(LeftOut(node.lineno, what))


def _at(place: ast.AST, node: _N) -> _N:
    """Return the node with all its parts at the place of another."""
    for part in ast.walk(node):
        ast.copy_location(part, place)
    return node


def _gives_up(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Raise)


def _drop_what_only_names(module: ast.Module, cut: Iterable[ast.AST], keep: frozenset[str]) -> None:
    """Remove top-level definitions that only removed code names."""
    wanted = set().union(*map(_loads, cut)) - keep
    while True:
        for place, statement in enumerate(module.body):
            others = (s for s in module.body if s is not statement)
            free = wanted - set().union(*map(_loads, others))
            dropped = _without(statement, free)
            if dropped is not None:
                wanted |= _loads(statement) - keep
                module.body[place : place + 1] = dropped
                break
        else:
            return


def _without(statement: ast.stmt, free: set[str]) -> list[ast.stmt] | None:
    """Return what stays of a statement once nobody needs the names `free`; None if all does."""
    match statement:
        case ast.Import() | ast.ImportFrom():
            pairs = zip(statement.names, imports(statement), strict=True)
            kept = [alias for alias, item in pairs if item.bound not in free]
            if len(kept) == len(statement.names):
                return None
            statement.names = kept or statement.names
            return [statement] if kept else []
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef(keywords=[]):
            # Another decorator may hand the function on to somebody.
            harmless = all(ast.unparse(d).startswith("torch.") for d in statement.decorator_list)
            return [] if harmless and statement.name in free else None
    return None


def _loads(node: ast.AST) -> set[str]:
    """Return the names that a node reads or declares to be another scope's, at any depth."""
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    for part in ast.walk(node):
        if isinstance(part, ast.Global | ast.Nonlocal):
            names |= set(part.names)
    return names
