"""The context of a node in a syntax tree: how its value is used."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from genesys_engine.gab.checks.names import Names

_SHOWS = frozenset({"str", "repr", "print"})


@dataclass(frozen=True)
class Places:
    """The parents of a module's nodes, and its names: what it binds itself is not Python's own."""

    names: Names
    parents: dict[ast.AST, ast.AST]

    @classmethod
    def of(cls, module: ast.Module, names: Names) -> Places:
        """Return the places of a module."""
        places = cls(names, {})
        places.add(module)
        return places

    def add(self, tree: ast.AST) -> None:
        """Add the nodes of a tree."""
        for node in ast.walk(tree):
            self.parents.update((child, node) for child in ast.iter_child_nodes(node))

    def parent(self, node: ast.AST) -> ast.AST | None:
        """Return the parent of a node."""
        return self.parents.get(node)

    def is_called(self, node: ast.AST) -> bool:
        """Tell whether a value is called there."""
        parent = self.parent(node)
        return isinstance(parent, ast.Call) and parent.func is node

    def decorator(self, node: ast.AST) -> ast.expr | None:
        """Return the decorator that a function is, with or without arguments, or None."""
        above = self.parents[node] if self.is_called(node) else node
        found = above in getattr(self.parent(above), "decorator_list", ())
        return above if found and isinstance(above, ast.expr) else None

    def below(self, decorator: ast.expr) -> list[ast.expr]:
        """Return the decorators that are applied before one."""
        every: list[ast.expr] = getattr(self.parent(decorator), "decorator_list", [])
        return every[every.index(decorator) + 1 :]

    def is_shown(self, node: ast.AST) -> bool:
        """Tell whether a value becomes a text."""
        match self.parent(node):
            case ast.FormattedValue():
                return True
            case ast.Call(func=ast.Name(id=name), args=args):
                return name in _SHOWS and name not in self.names.bound and node in args
        return False

    def is_asked(self, node: ast.AST) -> bool:
        """Tell whether a class is only asked for by isinstance."""
        parent = self.parent(node)
        if isinstance(parent, ast.Tuple):
            parent = self.parent(parent)
        match parent:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass" as name)):
                return name not in self.names.bound
        return False
