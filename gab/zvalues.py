"""Which intermediate values (Z) a unit reads and writes, found in its source.

A value is read with `Z["name"]`, `Z.get("name")` or `"name" in Z`; it is written with
`{**Z, "name": value}`, `Z["name"] = value`, `Z | {"name": value}` or handed to a child as
`self.child(X, **Z, name=value)`.  Any other use of Z hides names from the reader, so the
contract refuses it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

from genesys_engine.gab.syntax import Visitor, walk

Z = "Z"


@dataclass
class ZUse:
    """Names of the values read and written, each with the line of its first use.

    `opaque` holds the lines on which Z is used in a way that does not show names.
    """

    reads: dict[str, int] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)
    opaque: list[int] = field(default_factory=list)


def z_use(unit_class: ast.ClassDef) -> ZUse:
    """Collect the use of Z in all methods of a unit's class."""
    methods = {n.name for n in unit_class.body if isinstance(n, ast.FunctionDef)}
    reader = _Reader(_aliases(unit_class, methods), methods)
    reader.visit(unit_class)
    return reader.use


def _aliases(unit_class: ast.ClassDef, methods: set[str]) -> set[str]:
    """Return the local names that hold Z, or what a child or a display made of it."""
    assignments = [node for node in walk(unit_class) if isinstance(node, ast.Assign)]
    names = {Z}
    while True:
        found = set(names)
        for node in assignments:
            if _carries(node.value, names) and not _is_own_method(node.value, methods):
                found |= {name for target in node.targets for name in _holder(target, node.value)}
        if found == names:
            return names
        names = found


def _is_own_method(value: ast.expr, methods: set[str]) -> bool:
    """Tell whether this is `self.method(...)`: its keywords and results are not Z's values."""
    match value:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name)):
            return name in methods
    return False


def _carries(value: ast.expr, names: set[str]) -> bool:
    """Tell whether an expression unpacks Z (`{**Z}`, `f(**Z)`) or is Z itself."""
    match value:
        case ast.Dict():
            unpacked = [v for k, v in zip(value.keys, value.values, strict=True) if k is None]
            return any(_is_z(v, names) for v in unpacked)
        case ast.Call():
            return any(k.arg is None and _carries_or_is(k.value, names) for k in value.keywords)
        case ast.BinOp(op=ast.BitOr()):
            return _carries_or_is(value.left, names)
    return _is_z(value, names)


def _carries_or_is(value: ast.expr, names: set[str]) -> bool:
    return _is_z(value, names) or (isinstance(value, ast.Dict) and _carries(value, names))


def _holder(target: ast.expr, value: ast.expr) -> list[str]:
    """Return the name that holds Z after an assignment: the second of a call's results."""
    if isinstance(value, ast.Call):
        if not (isinstance(target, ast.Tuple) and len(target.elts) == 2):
            return []
        target = target.elts[1]
    return [target.id] if isinstance(target, ast.Name) and target.id != "_" else []


def _is_z(node: ast.expr, names: Iterable[str] = (Z,)) -> bool:
    return isinstance(node, ast.Name) and node.id in names


class _Reader(Visitor, ast.NodeVisitor):
    """Notes every use of the names that hold Z."""

    def __init__(self, names: set[str], methods: set[str]) -> None:
        self.names = names
        self.methods = methods
        self.use = ZUse()

    def _read(self, key: ast.expr) -> None:
        self._note(self.use.reads, key)

    def _write(self, key: ast.expr) -> None:
        self._note(self.use.writes, key)

    def _note(self, table: dict[str, int], key: ast.expr) -> None:
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            table.setdefault(key.value, key.lineno)
        else:
            self.use.opaque.append(key.lineno)
            self.visit(key)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not _is_z(node.value, self.names):
            self.generic_visit(node)
        elif isinstance(node.ctx, ast.Load):
            self._read(node.slice)
        else:
            self._write(node.slice)

    def visit_Compare(self, node: ast.Compare) -> None:
        is_membership = len(node.ops) == 1 and isinstance(node.ops[0], ast.In | ast.NotIn)
        if is_membership and _is_z(node.comparators[0], self.names):
            self._read(node.left)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        rest: list[ast.expr] = [*node.args]
        match node.func:
            case ast.Attribute(value=owner, attr="get") if _is_z(owner, self.names) and node.args:
                self._read(rest.pop(0))
            case ast.Name(id="dict") if len(rest) == 1 and _is_z(rest[0], self.names):
                rest.pop()
                self._note_keywords(node)
            case _:
                self.visit(node.func)
        if _carries(node, self.names) and not _is_own_method(node, self.methods):
            self._note_keywords(node)
        for keyword in node.keywords:
            if keyword.arg is not None or not _is_z(keyword.value, self.names):
                rest.append(keyword.value)
        for value in rest:
            self.visit(value)

    def _note_keywords(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg:
                self.use.writes.setdefault(keyword.arg, keyword.value.lineno)

    def visit_Dict(self, node: ast.Dict) -> None:
        extends = _carries(node, self.names)
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None and _is_z(value, self.names):
                continue
            if key is not None and extends:
                self._write(key)
            self.visit(value)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if not (isinstance(node.op, ast.BitOr) and _is_z(node.left, self.names)):
            self.generic_visit(node)
            return
        if not isinstance(node.right, ast.Dict):
            self.use.opaque.append(node.lineno)
            return
        for key, value in zip(node.right.keys, node.right.values, strict=True):
            if key is not None:
                self._write(key)
            self.visit(value)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self.visit(target)
        if not _is_z(node.value, self.names):
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if _is_z(node.target, self.names):
            self.use.opaque.append(node.lineno)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        for value in values:
            if value is not None and not _is_z(value, self.names):
                self.visit(value)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self.names and isinstance(node.ctx, ast.Load):
            self.use.opaque.append(node.lineno)
