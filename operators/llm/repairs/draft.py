"""The syntax tree under repair, and helpers shared by several repairs."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from genesys_engine.gab.scopes import undefined_names
from genesys_engine.gab.syntax import docstring_statement, imports, parse
from genesys_engine.gab.unit import Unit


@dataclass
class Draft:
    """A module whose class `unit` is meant to replace `original`."""

    module: ast.Module
    unit: ast.ClassDef
    original: Unit
    repairs: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, module: ast.Module, original: Unit) -> Draft | None:
        """Find the class that is meant: by name, by interface, else the last with a forward."""
        classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
        named = [node for node in classes if node.name == original.name]
        marked = [node for node in classes if attribute(node, "interface") is not None]
        able = [node for node in classes if method(node, "forward")]
        found = named or marked or able
        return cls(module, found[-1], original) if found else None

    def summaries(self) -> tuple[str, ...]:
        """Return each repair once, in order."""
        return tuple(dict.fromkeys(self.repairs))

    def note(self, repair: str) -> None:
        """Record a repair."""
        self.repairs.append(repair)

    def module_names(self) -> set[str]:
        """Return the names that the module binds at its top level."""
        return {name for node in self.module.body for name in bound_names(node)}

    def undefined(self, *nodes: ast.stmt) -> set[str]:
        """Return the names in these statements that nothing binds."""
        bound = self.module_names()
        return {name for node in nodes for name in undefined_names(node, bound)}

    def methods(self) -> list[ast.FunctionDef]:
        """Return the methods of the unit's class but its constructor."""
        found = [node for node in self.unit.body if isinstance(node, ast.FunctionDef)]
        return [node for node in found if node.name != "__init__"]

    @property
    def init(self) -> ast.FunctionDef | None:
        """The constructor, if it is written out."""
        return method(self.unit, "__init__")

    @property
    def forward(self) -> ast.FunctionDef | None:
        """The method `forward`, if there is one."""
        return method(self.unit, "forward")

    def slots(self) -> dict[str, str]:
        """Return the declared slots, name -> interface, as far as they can be read."""
        value = attribute(self.unit, "slots")
        try:
            slots = ast.literal_eval(value) if value is not None else {}
            return {str(name): str(entry[0]) for name, entry in slots.items()}
        except (ValueError, TypeError, AttributeError, IndexError, KeyError):
            return {}


def bound_names(node: ast.stmt) -> set[str]:
    """Return the names that an import or a definition of a file binds."""
    match node:
        case ast.Import() | ast.ImportFrom():
            return {item.bound for item in imports(node)}
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
    return set()


def words(text: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(text.split())


def attribute(node: ast.ClassDef, name: str) -> ast.expr | None:
    """Return the value that a class body assigns to `name`."""
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                return value
            case ast.AnnAssign(target=ast.Name(id=found), value=value) if found == name:
                return value
    return None


def set_attribute(node: ast.ClassDef, name: str, value: ast.expr) -> None:
    """Let the class body assign `value` to `name`, in the old place or below the docstring."""
    made = ast.Assign([ast.Name(name, ast.Store())], value, lineno=0)
    for at, statement in enumerate(node.body):
        match statement:
            case ast.Assign(targets=[ast.Name(id=found)]) if found == name:
                node.body[at] = made
                return
            case ast.AnnAssign(target=ast.Name(id=found)) if found == name:
                node.body[at] = made
                return
    node.body.insert(1 if docstring_statement(node) else 0, made)


def method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    """Return a class's method of this name."""
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == name:
            return statement
    return None


def insert_first(function: ast.FunctionDef, statement: ast.stmt, *, after_super: bool) -> None:
    """Put a statement at the top of a body, below its docstring (and the call of super)."""
    at = 1 if docstring_statement(function) else 0
    if after_super and at < len(function.body) and is_super_init(function.body[at]):
        at += 1
    function.body.insert(at, statement)


def is_super_init(node: ast.stmt) -> bool:
    """Tell whether this is `super().__init__(...)` or `nn.Module.__init__(self)`."""
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr="__init__"))):
            return True
    return False


def statement(text: str) -> ast.stmt:
    """Parse a single statement."""
    return parse(text).body[0]


def replace_nodes(root: ast.AST, change: Callable[[ast.AST], ast.AST | None]) -> int:
    """Replace nodes below `root`, innermost first; `change` returns None to keep one.

    Returns how many were replaced.
    """
    swapper = _Swapper(change)
    swapper.generic_visit(root)
    return swapper.count


class _Swapper(ast.NodeTransformer):
    def __init__(self, change: Callable[[ast.AST], ast.AST | None]) -> None:
        self.change = change
        self.count = 0

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        other = self.change(node)
        if other is None:
            return node
        self.count += 1
        return other


def rename(root: ast.AST, old: str, new: str) -> None:
    """Rename a local variable everywhere below `root`."""
    for node in ast.walk(root):
        if isinstance(node, ast.Name) and node.id == old:
            node.id = new
        elif isinstance(node, ast.arg) and node.arg == old:
            node.arg = new


def names_in(root: ast.AST) -> set[str]:
    """Return every name that is read or bound below `root`."""
    return {node.id for node in ast.walk(root) if isinstance(node, ast.Name)}


def self_attributes(nodes: list[ast.FunctionDef], kind: type[ast.expr_context]) -> set[str]:
    """Return the attributes of `self` that are loaded (or stored) in these methods."""
    return {
        node.attr
        for function in nodes
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, kind)
        if isinstance(node.value, ast.Name) and node.value.id == "self"
    }


def own_returns(function: ast.FunctionDef) -> Iterator[ast.Return]:
    """Yield the return statements of a function, not those of functions within it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Return):
            yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)
