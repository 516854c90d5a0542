"""Going through a module with the names that the functions around a place bind."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from genesys_engine.gab.checks.names import Names, chain, own_names

OWN = ("self", "ctx")
"""The first parameter of a method of a module, and of a torch.autograd.Function."""


def root_of(node: ast.expr) -> ast.expr:
    """Return the start of a chain of attributes."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node


@dataclass
class Scoped(ast.NodeVisitor):
    """Visits a module, and knows for each place whose names stand there."""

    names: Names
    own: list[set[str]] = field(default_factory=list, init=False)
    in_class: bool = field(default=False, init=False)  # directly in a class's body
    # in a function that stands there and takes `self` or `ctx`
    in_method: bool = field(default=False, init=False)

    def _targets(self, node: ast.expr) -> list[str]:
        """Return the dotted targets of a chain of attributes that begins at an import."""
        root = root_of(node)
        own = isinstance(root, ast.Name) and self._is_own(root.id)
        return [] if own else chain(node, self.names.targets)

    def _is_own(self, name: str) -> bool:
        """Return whether an enclosing function binds a name that no scope declares global."""
        return name not in self.names.shared and any(name in names for names in self.own)

    def _annotation(self, node: ast.expr | None) -> None:
        """Visit an annotation."""
        if node is not None:
            self.visit(node)

    def _class_body(self, node: ast.ClassDef) -> None:
        outer, self.in_class = self.in_class, True
        for part in node.body:
            self.visit(part)
        self.in_class = outer

    def _inside(self, node: ast.AST, names: set[str]) -> None:
        self.own.append(names)
        self.visit(node)
        self.own.pop()

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        arguments = node.args
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        parameters += [extra for extra in (arguments.vararg, arguments.kwarg) if extra]
        outside: list[ast.AST | None] = [*arguments.defaults, *arguments.kw_defaults]
        body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else [*node.body]
        if not isinstance(node, ast.Lambda):
            outside += node.decorator_list
            for annotation in (node.returns, *(each.annotation for each in parameters)):
                self._annotation(annotation)
        for part in outside:
            if part is not None:
                self.visit(part)
        names = {parameter.arg for parameter in parameters} | own_names(body)
        names -= self.names.aliases
        before = self.in_class, self.in_method
        starts = bool(arguments.args and arguments.args[0].arg in OWN)
        self.in_method = self.in_class and starts and not arguments.posonlyargs
        self.in_class = False
        for part in body:
            self._inside(part, names)
        self.in_class, self.in_method = before

    visit_FunctionDef = visit_Lambda = _visit_function  # noqa: N815

    def _visit_comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    ) -> None:
        first, *others = node.generators
        self.visit(first.iter)  # evaluated outside
        targets = [generator.target for generator in node.generators]
        names = own_names(targets)
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        for part in [first.target, *first.ifs, *others, *results]:
            self._inside(part, names)

    visit_ListComp = visit_SetComp = visit_DictComp = _visit_comprehension  # noqa: N815
    visit_GeneratorExp = _visit_comprehension  # noqa: N815
