"""Reading Python source as data: a canonical text of a syntax tree, its imports, its docstrings.

Nothing here runs the source.  The canonical text is our own, not `ast.dump`, because the latter
changes between Python versions and a digest must not.
"""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring_ascii

NO_NAMES: Mapping[str, str] = {}

# `ctx` follows from the place; the others are comments or spelling (u"...").
_SKIPPED = frozenset({"ctx", "type_comment", "type_ignores", "kind"})
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What reading a source, or writing its tree, may raise for what stands in it: no Python, a null
byte, nesting without end, a number of more digits than Python writes."""

_PARSING = threading.RLock()


def parse(source: str, *, feature_version: tuple[int, int] | None = None) -> ast.Module:
    """Return the syntax tree of a module, as `ast.parse` does, one thread at a time.

    CPython before 3.11.8 and 3.12.2 counts the nesting of all threads in one place, and raises
    SystemError where two of them parse at once (python/cpython issue 106905).
    """
    with _PARSING:
        return ast.parse(source, feature_version=feature_version)


@lru_cache(maxsize=32)  # a unit is read twice: as a unit, and as a part of a module
def parse_unit_source(source: str) -> ast.Module:
    """Return the syntax tree of a unit's source; it is shared, and must not be changed.

    The grammar is that of the oldest Python that we run on.
    """
    return parse(source, feature_version=(3, 11))


def parse_expression(text: str) -> ast.expr:
    """Return the syntax tree of an expression; see `parse`."""
    with _PARSING:
        return ast.parse(text, mode="eval").body


def walk(node: ast.AST) -> list[ast.AST]:
    """Return a node and all below it, as `ast.walk` does, but for the empty ones (see `children`).

    Reading a unit is mostly walking: this takes a quarter of the time.
    """
    found = [node]
    for each in found:
        found += children(each)
    return found


def children(node: ast.AST) -> list[ast.AST]:
    """Return the nodes directly below one, but for those without fields: `Load`, `Add`, `Pass`."""
    below: list[ast.AST] = []
    for field in node._fields:
        value = getattr(node, field, None)
        if isinstance(value, list):
            below += [item for item in value if isinstance(item, ast.AST) and item._fields]
        elif isinstance(value, ast.AST) and value._fields:
            below.append(value)
    return below


class Visitor(ast.NodeVisitor):
    """Visits the nodes that `children` finds."""

    def generic_visit(self, node: ast.AST) -> None:
        """Visit what is directly below a node."""
        for child in children(node):
            self.visit(child)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Visit nothing: the inherited method looks for what Python 3.7 called constants."""


def canonical(node: ast.AST, names: Mapping[str, str] = NO_NAMES) -> str:
    """Return a text that is equal for trees that differ in layout only.

    Layout is: formatting, comments, docstrings, and the order of a call's keywords.  `names`
    maps identifiers (of classes, functions and variables) to what stands for them in the text.
    The text does not depend on the Python version (3.11 to 3.13).
    """
    out: list[str] = []
    _write(node, names, out)
    return "".join(out)


def _write(value: object, names: Mapping[str, str], out: list[str]) -> None:
    if isinstance(value, ast.AST):
        _write_node(value, names, out)
    elif isinstance(value, list):
        out.append("[")
        for item in value:
            _write(item, names, out)
            out.append(",")
        out.append("]")
    elif isinstance(value, str):
        # Not repr(), which follows the Unicode tables of the Python version.
        out.append(encode_basestring_ascii(value))
    else:
        out.append(f"{type(value).__name__}:{value!r}")


def _write_node(node: ast.AST, names: Mapping[str, str], out: list[str]) -> None:
    out.append(type(node).__name__ + "(")
    for field in _written_fields(node._fields):
        value = getattr(node, field, None)
        if value is None or value == []:
            continue
        out.append(field + "=")
        _write(_normal(node, field, value, names), names, out)
        out.append(";")
    out.append(")")


@lru_cache(maxsize=256)  # there are half as many kinds of nodes
def _written_fields(fields: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(fields) - _SKIPPED))


def _normal(node: ast.AST, field: str, value: object, names: Mapping[str, str]) -> object:
    """Return the field's value with everything removed that is layout."""
    if field == "body" and isinstance(node, _Documented):
        return without_docstring(node)
    if field == "keywords" and isinstance(node, ast.Call):
        if all(keyword.arg for keyword in node.keywords):
            return sorted(node.keywords, key=lambda keyword: keyword.arg or "")
    elif field == "values" and isinstance(node, ast.JoinedStr):
        return _merged(node.values)
    elif (field == "id" and isinstance(node, ast.Name)) or (
        field == "name" and isinstance(node, ast.ClassDef | ast.FunctionDef)
    ):
        return names.get(str(value), value)
    return value


def _merged(values: Sequence[ast.expr]) -> list[ast.expr]:
    """Join an f-string's neighbouring literal parts: Python versions split them differently."""
    merged: list[ast.expr] = []
    for value in values:
        last = merged[-1] if merged else None
        if not isinstance(value, ast.Constant):
            merged.append(value)
        elif isinstance(last, ast.Constant):
            merged[-1] = ast.Constant(str(last.value) + str(value.value))
        elif value.value != "":
            merged.append(value)
    return merged


def docstring_statement(node: _Documented) -> ast.stmt | None:
    """Return the statement that is the node's docstring, if there is one."""
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return first if isinstance(first.value.value, str) else None
    return None


def without_docstring(node: _Documented) -> list[ast.stmt]:
    """Return the node's statements without its docstring (`pass` if nothing else is there)."""
    body: list[ast.stmt] = node.body[1:] if docstring_statement(node) else node.body
    return body or [ast.Pass()]


@dataclass(frozen=True)
class Import:
    """One name that an import statement binds.

    `target` is the dotted name of what is bound, so that `import torch.nn as nn` and
    `from torch import nn` bind the same; `module` is what has to be loaded.
    """

    bound: str
    target: str
    module: str
    line: int

    @property
    def is_plain(self) -> bool:
        """Whether this is `import a.b`: it binds the top package, whose name is reserved."""
        return self.bound == self.target

    def statement(self, name: str) -> str:
        """Return the statement that binds this target to `name`."""
        if self.is_plain:
            return f"import {self.module}"
        if self.module == self.target:
            return f"import {self.module} as {name}"
        last = self.target.rpartition(".")[2]
        return f"from {self.module} import {last}" + ("" if name == last else f" as {name}")


def imports(node: ast.Import | ast.ImportFrom) -> Iterator[Import]:
    """Yield the names that an import statement binds (`*` stands as the name `*`)."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            target = f"{module}.{alias.name}"
            yield Import(alias.asname or alias.name, target, module, node.lineno)
        elif alias.asname:
            yield Import(alias.asname, alias.name, alias.name, node.lineno)
        else:
            top = alias.name.split(".")[0]
            yield Import(top, top, alias.name, node.lineno)
