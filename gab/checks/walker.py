"""Searching the syntax tree of a module for constructs outside the block language.

See `guard` for the language.  It knows the names that the functions around a place bind, and
the parent of every node.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from types import ModuleType
from typing import Any

from torch import Tensor

from genesys_engine.gab.checks.attributes import (
    BUILTINS,
    BY_NAME,
    DEFINABLE_SPECIAL,
    FOREIGN,
    NAMED_SPECIAL,
    READABLE_SPECIAL,
    guarded_names,
    hidden_names,
    is_special,
    module_names,
    never,
)
from genesys_engine.gab.checks.members import DECORATORS, member, refused
from genesys_engine.gab.checks.names import Names, defined
from genesys_engine.gab.checks.places import Places
from genesys_engine.gab.checks.scoped import OWN, Scoped, root_of
from genesys_engine.gab.syntax import UNREADABLE, parse_expression

INTERPRETER, PATCH, ATTRIBUTE = "static.interpreter", "patch.outside", "static.attribute"
_FREE = NAMED_SPECIAL | {"copyright", "credits", "license"}
UNUSABLE = frozenset(vars(builtins)) - BUILTINS - BY_NAME - _FREE
"""What of Python itself a block may not name."""
_PLAIN = frozenset({"str", "bytes", "int", "float", "complex", "bool"})
# What an annotation may consist of.
_OF_TYPES = (
    ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.BinOp, ast.BitOr, ast.Tuple, ast.List,
    ast.Constant, ast.Starred, ast.UnaryOp, ast.USub, ast.Load,
)  # fmt: skip
_FIELD = re.compile(r"\{[^{}:!]*[.\[]")  # in a format: a field that reads an attribute or an item


@dataclass(frozen=True)
class Fault:
    """A construct that the language refuses; `cure` says what to write instead."""

    line: int
    code: str
    name: str
    text: str
    cure: str = ""


def walk(module: ast.Module, names: Names) -> tuple[list[Fault], bool]:
    """Return the refused constructs of a module, and whether it uses TorchScript.

    Raises:
        RecursionError: the source is nested too deeply.
    """
    walker = _Walker(names, Places.of(module, names))
    walker.visit(module)
    return walker.faults, walker.scripts


def _hidden(name: str) -> bool:
    """Tell whether reading an attribute of this name leads to where a block has no business."""
    return name not in READABLE_SPECIAL if is_special(name) else name in never()


@dataclass
class _Walker(Scoped, ast.NodeVisitor):
    """Collects refused constructs."""

    at: Places
    faults: list[Fault] = field(default_factory=list)
    caught: list[str] = field(default_factory=list)  # names of exceptions around a place
    in_annotation: bool = False
    scripts: bool = False  # uses TorchScript

    def _say(self, node: ast.AST, code: str, name: str, text: str, cure: str = "") -> None:
        self.faults.append(Fault(getattr(node, "lineno", 1), code, name, text, cure))

    def _reach(self, node: ast.AST, name: str, cure: str = "") -> None:
        self._say(node, INTERPRETER, name, f"{name!r} reaches for the interpreter.", cure)

    # --- names and attributes

    def visit_Name(self, node: ast.Name) -> None:
        name = node.id
        unusable = (name in UNUSABLE or name in BY_NAME) and not self._is_own(name)
        if unusable or (is_special(name) and name not in NAMED_SPECIAL):
            self._reach(node, name)
        if not isinstance(node.ctx, ast.Load):
            return
        raised = isinstance(self.at.parent(node), ast.Raise)
        if name in self.caught and not raised and not self.at.is_shown(node):
            text = "A caught exception is used as a value; it holds frames and modules."
            cure = f"Use str({name}), or raise it again."
            self._say(node, INTERPRETER, name, text, cure)
        if name == "type" and not self._is_own(name):
            self._type(node)
        for target in self._targets(node):
            self._as_value(node, target)

    def _as_value(self, node: ast.expr, target: str) -> None:
        """Check a use of an import that is not part of a longer chain."""
        self.scripts = self.scripts or target.startswith("torch.jit.")
        if reason := refused(target):
            self._say(node, INTERPRETER, target, f"{reason}.")
        elif _is_module(target):
            text = f"The module {target!r} is used as a value; use its members by name."
            self._say(node, INTERPRETER, target, text)
        elif target in DECORATORS and not self._decorates(node):
            text = f"{target} changes what it is given."
            self._say(node, PATCH, target, text, "Write it above the class, as a decorator.")
        elif _is_enum(target) and not self._is_base(node):
            self._made(node, target)

    def _decorates(self, node: ast.expr) -> bool:
        """Tell whether a function is only given what stands below it, and that untouched."""
        decorator = self.at.decorator(node)
        if decorator is None:
            return False
        if isinstance(decorator, ast.Call) and (
            decorator.args or any(each.arg in ("cls", "fn", None) for each in decorator.keywords)
        ):
            return False
        before = [
            self._targets(each.func if isinstance(each, ast.Call) else each)
            for each in self.at.below(decorator)
        ]
        return all(targets and DECORATORS.issuperset(targets) for targets in before)

    def _is_base(self, node: ast.AST) -> bool:
        """Tell whether a class that makes classes is only derived from or asked for."""
        named = isinstance(self.at.parent(node), ast.ClassDef)
        return named or self.in_annotation or self.at.is_asked(node)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        """An import in a class would make a module an attribute."""
        if self.in_class:
            text = "An import in a class makes an attribute of it."
            self._say(node, INTERPRETER, "import", text, "Import at the top of the file.")

    visit_ImportFrom = visit_Import  # noqa: N815

    def visit_Attribute(self, node: ast.Attribute) -> None:
        targets = self._targets(node)
        if not isinstance(node.ctx, ast.Load):
            self._store(node, targets)
        elif node.attr == "__class__":
            self._kind(node)
        elif node.attr == "format":
            self._format(node)
        if _hidden(node.attr):
            self._reach(node, node.attr, self._other_name(node))
        elif not targets and isinstance(node.ctx, ast.Load):
            self._known(node)
        for target in targets:
            self._as_value(node, target)
        if not targets:
            self.visit(node.value)

    def _other_name(self, node: ast.Attribute) -> str:
        """Return the remedy for a name that the block defines itself."""
        mine = node.attr in self.names.attributes and not is_special(node.attr)
        return f"Give the attribute {node.attr!r} of your own another name." if mine else ""

    def _known(self, node: ast.Attribute) -> None:
        """Check an attribute that modules have which reach the machine, and no value of a block.

        What `self` holds may be a unit of another source; a refused import is reported itself.
        """
        name, root = node.attr, root_of(node)
        mine = isinstance(root, ast.Name) and root.id in ("self", "cls", *OWN, *self.names.missing)
        if not mine and name in FOREIGN and not self.names.defines(name):
            text = f"No value of a block has the attribute {name!r}, and nothing here defines it."
            self._say(node, ATTRIBUTE, name, text)

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        """`case Kind(name=value)` reads an attribute."""
        for name in filter(_hidden, node.kwd_attrs):
            self._reach(node, name)
        self.generic_visit(node)

    # --- texts that are read as names or as code

    def visit_Constant(self, node: ast.Constant) -> None:
        """Names of the interpreter as texts: a first step on the way to them."""
        text = node.value
        if not isinstance(text, str):
            return
        if self.in_annotation:
            self._text_as_code(node, text)
        if "_" not in text or not text.isidentifier():
            return
        hidden = _hidden(text) and text not in hidden_names()
        if hidden or text in UNUSABLE:
            self._reach(node, text)

    def _text_as_code(self, node: ast.Constant, text: str) -> None:
        try:
            expression = parse_expression(text.strip())
        except UNREADABLE:
            return  # nobody can evaluate it
        for part in ast.walk(expression):
            ast.copy_location(part, node)
        self.at.add(expression)
        self.visit(expression)

    def _annotation(self, node: ast.expr | None) -> None:
        """Check an annotation, texts in it as what they say: something may evaluate them."""
        if node is not None:
            if not all(isinstance(part, _OF_TYPES) for part in ast.walk(node)):
                text = "An annotation is more than a type."
                self._say(node, INTERPRETER, "annotation", text, "Write a type, or nothing.")
            before, self.in_annotation = self.in_annotation, True
            self.visit(node)
            self.in_annotation = before

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        for part in (node.target, node.value):
            if part is not None:
                self.visit(part)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """The strings of `Literal["a"]` and `Annotated[T, "a"]` are not code."""
        kind = ast.unparse(node.value).split(".")[-1] if self.in_annotation else ""
        notes = kind in ("Literal", "Annotated")
        self.visit(node.value)
        if kind == "Annotated" and isinstance(node.slice, ast.Tuple):
            self.visit(node.slice.elts[0])
        before, self.in_annotation = self.in_annotation, self.in_annotation and not notes
        self.visit(node.slice)
        self.in_annotation = before

    def _format(self, node: ast.Attribute) -> None:
        """Check `"...".format(...)`: its fields could read attributes."""
        match node.value:
            case ast.Constant(value=str(text)) if not _FIELD.search(text):
                if self.at.is_called(node):
                    return
        text = "str.format with fields that read attributes, or that are only known at run time."
        self._say(node, INTERPRETER, "format", text, 'Write an f-string: f"{value}".')

    # --- values that lead to others

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        if node.name:
            self.caught.append(node.name)
        for part in node.body:
            self.visit(part)
        if node.name:
            self.caught.pop()

    def _type(self, node: ast.Name) -> None:
        """Check a use of `type`: of one value, or to ask whether a value is a class."""
        parent = self.at.parent(node)
        if isinstance(parent, ast.Call) and parent.func is node:
            if len(parent.args) != 1 or parent.keywords or isinstance(parent.args[0], ast.Starred):
                self._made(node, "type")
            else:
                self._kind(parent)
        elif not self.in_annotation and not self.at.is_asked(node):
            self._made(node, "type")

    def _kind(self, node: ast.expr) -> None:
        """Check a use of a class that is only known at run time."""
        match self.at.parent(node):
            case ast.Attribute(attr=name) if name in ("__name__", "__doc__") or not is_special(
                name
            ):
                return
            case ast.Compare(left=left, comparators=others):
                if all(each is node or self._is_class(each) for each in (left, *others)):
                    return
        if not self.at.is_shown(node) and not self.at.is_asked(node):
            text = "A class that is only known at run time is used as a value."
            self._say(node, INTERPRETER, "type", text, "Name the class.")

    def _is_class(self, node: ast.expr) -> bool:
        """Tell whether an expression names classes, or asks a value for its own."""
        match node:
            case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
                return all(map(self._is_class, parts))
            case ast.Call(func=ast.Name(id="type")) | ast.Attribute(attr="__class__"):
                return True
            case ast.Name(id=name) if name in self.names.classes:
                return True
            case ast.Name(id=name) if name in BUILTINS and name not in self.names.bound:
                return True
        return bool(self._targets(node)) or (isinstance(node, ast.Constant) and node.value is None)

    def _made(self, node: ast.AST, name: str) -> None:
        text = "A class is made at run time; write it as a class."
        self._say(node, PATCH, name, text)

    def _coroutine(self, node: ast.AST) -> None:
        text = "A block has nothing to wait for."
        self._say(node, INTERPRETER, "async", text, "Write a plain function.")
        self.generic_visit(node)

    visit_Await = visit_AsyncFor = visit_AsyncWith = _coroutine  # noqa: N815

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._say(node, INTERPRETER, "async", "A block has nothing to wait for.", "Write `def`.")
        self._visit_function(node)

    # --- stores

    def _store(self, node: ast.Attribute, targets: list[str]) -> None:
        own = self.in_method and isinstance(node.value, ast.Name) and node.value.id in OWN
        guarded = module_names() if own else guarded_names()
        if targets or node.attr in guarded or is_special(node.attr):
            what = targets[0] if targets else ast.unparse(node)
            text = f"A store into {what!r} can change what is not the block's."
            self._say(node, PATCH, what, text)

    def visit_Call(self, node: ast.Call) -> None:
        match node:
            case ast.Call(func=ast.Name(id=name), args=[of, named, *rest]) if name in BY_NAME:
                self._by_name(node, name, of, named)
                for part in [*rest, *node.keywords]:
                    self.visit(part)
            case _:
                if any(target.startswith("opt_einsum.") for target in self._targets(node.func)):
                    self._contraction(node)
                self.generic_visit(node)

    def _contraction(self, node: ast.Call) -> None:
        """A backend is a module, imported by its name."""
        if any(each.arg in ("backend", None) for each in node.keywords):
            text = "A backend of opt_einsum is a module that is named by a text."
            self._say(node, INTERPRETER, "backend", text, "Leave `backend` out.")

    def _by_name(self, node: ast.Call, name: str, of: ast.expr, named: ast.expr) -> None:
        """Check getattr(of, "name") and the like as the attribute that it is."""
        match named:
            case ast.Constant(value=str(text)) if text.isidentifier():
                context = ast.Load() if name in ("getattr", "hasattr") else ast.Store()
                access = ast.copy_location(ast.Attribute(of, text, context), node)
                self.at.parents[access] = self.at.parents[node]
                self.visit(access)
                return
            case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]) if (
                isinstance(of, ast.Name) and of.id == "self" and _is_free(text)
            ):
                self.visit(named)
                return
        text = f"{name} with a name that is only known at run time."
        cure = "Write the name, or keep the values in a dict, an nn.ModuleDict or an nn.ModuleList."
        self._say(node, INTERPRETER, name, text, cure)

    # --- classes

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if node.keywords:
            text = f"{node.name} has a metaclass or other arguments."
            self._say(node, PATCH, node.name, text)
        for base in node.bases:
            self._base(node, base)
        for statement in node.body:
            for name, line in defined(statement):
                if name in module_names() or (is_special(name) and name not in DEFINABLE_SPECIAL):
                    text = f"{node.name}.{name} takes the place of what the checks go through."
                    self.faults.append(Fault(line, PATCH, name, text))
        for part in [*node.decorator_list, *node.bases, *node.keywords]:
            self.visit(part)
        self._class_body(node)

    def _base(self, node: ast.ClassDef, base: ast.expr) -> None:
        """Check the bases of a class: named classes, neither tensors nor numbers."""
        while isinstance(base, ast.Subscript):  # Generic[T]
            base = base.value
        if not self._is_named_class(base):
            text = f"{node.name} derives from what is only known at run time."
            self._say(node, PATCH, node.name, text, "Name the class that it derives from.")
        targets = self._targets(base)
        plain = isinstance(base, ast.Name) and base.id in _PLAIN and not targets
        mixed = any(t.startswith("enum.") for each in node.bases for t in self._targets(each))
        meta = isinstance(base, ast.Name) and base.id == "type"
        if any(map(_is_tensor_like, targets)) or meta or (plain and not mixed):
            self._say(node, PATCH, node.name, f"{node.name} takes the place of a tensor or number.")

    def _is_named_class(self, base: ast.expr) -> bool:
        """Tell whether nothing but a class, an import or a tuple with names can be meant."""
        if isinstance(base, ast.Call):  # namedtuple("State", "a b")
            made = {target.split(".")[-1] for target in self._targets(base.func)}
            return bool(made) and made <= {"namedtuple", "NamedTuple"}
        parts: list[str] = []
        while isinstance(base, ast.Attribute):
            parts.append(base.attr)
            base = base.value
        if not isinstance(base, ast.Name) or self._is_own(base.id):
            return False
        if base.id not in self.names.bound:  # Python's own, or nobody's
            return True
        inside = base.id not in self.names.classes or all(
            part in self.names.classes and part in self.names.steady for part in parts
        )
        return base.id in self.names.steady and inside


@cache
def _found(dotted: str) -> Any:
    first, *rest = dotted.split(".")
    found: Any = sys.modules.get(first, ModuleType(first))
    for part in rest:
        found = member(found, part)
    return found


def _is_module(dotted: str) -> bool:
    return isinstance(_found(dotted), ModuleType)


def _is_enum(dotted: str) -> bool:
    """Tell whether to call this makes a class."""
    found = _found(dotted) if dotted.startswith("enum.") else None
    return isinstance(found, type) and issubclass(found, Enum)


def _is_tensor_like(dotted: str) -> bool:
    """Tell whether a class could answer in the place of a tensor: its subclasses may too."""
    found = _found(dotted)
    return isinstance(found, type) and (
        issubclass(found, type | Tensor) or hasattr(found, "__torch_function__")
    )


def _is_free(prefix: str) -> bool:
    """Tell whether no guarded name begins like this, so that none can be made of it."""
    if not prefix or prefix.startswith("_"):
        return False
    return not any(name.startswith(prefix) for name in module_names() | never())
