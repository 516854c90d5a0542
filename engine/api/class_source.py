"""The source of a class that somebody holds in Python, as text that stands by itself.

A class of a file gives the whole file.  One of a notebook's cell gives itself together with what it
uses: imports, constants, functions and other classes.  Nothing is executed.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import sys
import tokenize
import types
from collections.abc import Mapping
from pathlib import Path

from genesys_engine.gab.errors import InputError
from genesys_engine.gab.syntax import UNREADABLE, parse

_CONSTANTS = (bool, int, float, str, bytes, type(None))
_BUILTINS = frozenset(dir(builtins))
_PUBLIC = ("torch", "torch.nn", "torch.nn.functional", "math", "einops", "typing")


def class_source(block: type) -> str:
    """Return a module that defines `block`.

    Raises:
        InputError: the source cannot be had, or it uses an object that no source can make.
    """
    file = _file(block)
    if file is not None and Path(file).is_file():
        with tokenize.open(file) as lines:  # in the encoding that it declares
            text = lines.read()
        if _find(text, block.__name__) is None:
            raise _lost(block.__name__)
        return text
    return _Writer(_names_around(block)).module(block)


def _file(made: type | types.FunctionType) -> str | None:
    """Return where a class or a function was written; a cell has the name of its cached lines."""
    if isinstance(made, types.FunctionType):
        return made.__code__.co_filename
    for value in vars(made).values():
        code = getattr(inspect.unwrap(value) if callable(value) else value, "__code__", None)
        if isinstance(code, types.CodeType) and value.__module__ == made.__module__:
            return code.co_filename
    try:
        return inspect.getsourcefile(made)
    except (TypeError, OSError):  # a module without a file, such as __main__ of a notebook
        return None


def _names_around(block: type) -> Mapping[str, object]:
    """Return the globals of the methods of a class."""
    for value in vars(block).values():
        if isinstance(value, types.FunctionType):
            return value.__globals__
    return {}


class _Writer:
    """Writes a module from objects and the names that their sources use."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names = names
        self._imports: dict[str, None] = {}
        self._definitions: dict[str, None] = {}
        self._seen: set[str] = set()

    def module(self, block: type) -> str:
        self._define(block.__name__, block)
        return "\n".join([*self._imports, "", "", *self._definitions])

    def _define(self, name: str, made: type | types.FunctionType) -> None:
        """Add the definition of a class or a function, after all that it uses."""
        self._seen.add(name)
        text, node = _definition(name, made)
        for used in sorted(_used_names(node)):
            if used not in self._seen and used in self._names:
                self._bind(used, self._names[used])
        renamed = "" if name == made.__name__ else f"\n\n{name} = {made.__name__}"
        self._definitions.setdefault(f"{text}{renamed}\n\n")

    def _bind(self, name: str, value: object) -> None:
        """Add what makes `name` mean `value`."""
        self._seen.add(name)
        if isinstance(value, types.ModuleType):
            self._imports.setdefault(_import(name, value))
        elif isinstance(value, _CONSTANTS):
            self._definitions.setdefault(f"{name} = {value!r}\n")
        elif isinstance(value, type | types.FunctionType) and _is_own(value):
            self._define(name, value)
        elif home := _home(value):
            module, real = home
            renamed = "" if real == name else f" as {name}"
            self._imports.setdefault(f"from {module} import {real}{renamed}")
        else:
            raise InputError(
                f"the block uses {name!r}, a {type(value).__name__}, which cannot be written down",
                hint="make it a constant, or save the block to a file and check that",
            )


def _import(name: str, module: types.ModuleType) -> str:
    """Return the statement that binds a module to a name."""
    full = module.__name__
    return f"import {full}" if name == full else f"import {full} as {name}"


def _home(value: object) -> tuple[str, str] | None:
    """Return the module that an object is imported from, and its name there.

    Functions of torch written in C name a module of its inside; a public one is preferred.
    """
    real, module = getattr(value, "__name__", None), getattr(value, "__module__", None)
    if not isinstance(real, str) or not isinstance(module, str) or module == "__main__":
        return None
    for public in _PUBLIC:
        if public in sys.modules and vars(sys.modules[public]).get(real) is value:
            return public, real
    return module, real


def _is_own(value: type | types.FunctionType) -> bool:
    """Tell whether it was defined where no import finds it."""
    file = _file(value)
    return value.__module__ == "__main__" or file is None or not Path(file).is_file()


def _definition(name: str, made: type | types.FunctionType) -> tuple[str, ast.AST]:
    """Return the text of a definition, with its decorators, and its syntax tree."""
    file = _file(made)
    lines = linecache.getlines(file) if file else []
    node = _find("".join(lines), made.__name__)
    if node is None:
        raise _lost(name)
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return "".join(lines[first - 1 : node.end_lineno]).rstrip(), node


def _find(text: str, name: str) -> ast.ClassDef | ast.FunctionDef | None:
    """Return the last definition of a name at the top level of a file or a cell."""
    try:
        body = parse(text).body
    except UNREADABLE:
        return None
    found = [
        node
        for node in body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name
    ]
    return found[-1] if found else None


def _lost(name: str) -> InputError:
    return InputError(
        f"the source of {name} cannot be found",
        hint="define it at the top level of a file or a cell, or give its source as a string",
    )


def _used_names(node: ast.AST) -> set[str]:
    """Return the names that a definition reads."""
    found = {
        each.id
        for each in ast.walk(node)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)
    }
    return found - _BUILTINS
