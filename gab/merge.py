"""Merging the sources of several units into one module, every definition once.

What a top-level name means is its own definition together with the definitions that it refers
to, directly or not.  A name that means the same in two units is written once; a name that means
something else in a later unit is renamed there.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from genesys_engine.gab.scopes import (
    BUILTINS,
    Lines,
    Reference,
    references,
    rename_fstring,
    replace,
)
from genesys_engine.gab.syntax import (
    Import,
    canonical,
    docstring_statement,
    imports,
    parse_unit_source,
    walk,
)
from genesys_engine.gab.tree import unique_name
from genesys_engine.gab.unit import Unit


@dataclass(frozen=True)
class _Definition:
    """A top-level statement that binds `name`, with its comments: bytes `start` to `end`."""

    name: str
    start: int
    end: int
    places: tuple[Reference, ...]


@dataclass(frozen=True)
class _Part:
    """A unit's source taken apart.

    `meanings` maps each top-level name to a text that is equal for equal meanings; `dropped`
    are the byte ranges of imports and of the module's docstring; `identifiers` are all names of
    any kind, which a new name must avoid.
    """

    imports: tuple[Import, ...]
    definitions: tuple[_Definition, ...]
    meanings: Mapping[str, str]
    dropped: tuple[tuple[int, int], ...]
    identifiers: frozenset[str]
    note: str


class Merger:
    """Collects units; knows which names of the module are taken and by what."""

    def __init__(self, reserved: Mapping[str, str]) -> None:
        """Take the names that the module needs itself: name -> import target or ""."""
        self._taken = set(reserved)
        # (name in a unit, what it means there) -> name in the module
        self._written = {(name, target): name for name, target in reserved.items()}
        self._statements: dict[tuple[str, ...], str] = {}
        for name, target in reserved.items():
            if target:
                self._import(Import(name, target, target.rpartition(".")[0], 0), name)

    def add(self, unit: Unit) -> tuple[str, str]:
        """Add a unit; return the name of its class in the module and the text to write."""
        part = _take_apart(unit.source)
        names: dict[str, str] = {}
        known: set[str] = set()
        for name, meaning in part.meanings.items():
            if (name, meaning) in self._written:
                known.add(name)
            else:
                self._written[name, meaning] = self._new_name(name, part.identifiers)
                self._taken.add(self._written[name, meaning])
            names[name] = self._written[name, meaning]
        for item in part.imports:
            self._import(item, names[item.bound])
        return names[unit.name], _text(unit.source, part, names, known)

    def _import(self, item: Import, name: str) -> None:
        """Note an import; of two spellings of one import the first is kept."""
        key = (name, item.module) if item.is_plain else (name,)
        self._statements.setdefault(key, item.statement(name))

    def _new_name(self, name: str, identifiers: frozenset[str]) -> str:
        # A definition with the name of a builtin would hide it from the other units.
        if name not in self._taken and name not in BUILTINS:
            return name
        return unique_name(name, self._taken | identifiers)

    def imports(self) -> str:
        """Return the import statements: `__future__` first, then the standard library, torch."""

        def order(statement: str) -> tuple[bool, bool, bool, str]:
            module = statement.split()[1]
            is_torch = module.split(".")[0] == "torch"
            return module != "__future__", is_torch, statement.startswith("from"), statement

        groups: dict[tuple[bool, bool], list[str]] = {}
        for statement in sorted(set(self._statements.values()), key=order):
            groups.setdefault(order(statement)[:2], []).append(statement)
        return "\n\n".join("\n".join(group) for group in groups.values())


@lru_cache(maxsize=512)
def _take_apart(source: str) -> _Part:
    module, lines = parse_unit_source(source), Lines(source)
    docstring = docstring_statement(module)
    bound: list[Import] = []
    dropped: list[tuple[int, int]] = []
    statements: dict[str, ast.stmt] = {}
    for node in module.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound += imports(node)
            dropped.append(lines.whole(node))
        elif node is docstring:
            dropped.append(lines.whole(node))
        else:
            statements[_bound_name(node)] = node
    names = {*statements, *(item.bound for item in bound)}
    found = {name: references(node, names, lines) for name, node in statements.items()}
    definitions = tuple(
        _Definition(name, *lines.whole(node, comments=True), places=tuple(found[name][0]))
        for name, node in statements.items()
    )
    own = {item.bound: item.target for item in bound}
    own |= {name: canonical(node) for name, node in statements.items()}
    uses = {name: used for name, (_, used) in found.items()}
    meanings = {name: _meaning(name, own, uses) for name in own}
    identifiers = frozenset(name for node in walk(module) for name in _identifiers(node) if name)
    note = ast.get_docstring(module) or ""
    return _Part(tuple(bound), definitions, meanings, tuple(dropped), identifiers, note)


def _bound_name(node: ast.stmt) -> str:
    """Return the one name that a top-level statement of a unit binds (the contract sees to it)."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    raise AssertionError(f"the unit contract lets no {type(node).__name__} stand at the top")


def _meaning(name: str, own: Mapping[str, str], uses: Mapping[str, set[str]]) -> str:
    """Return the meaning of a name: its definition and all definitions reached from it."""
    if name not in uses:
        return own[name]  # an import
    reached, queue = {name}, [name]
    while queue:
        new = uses.get(queue.pop(), set()) - reached
        reached |= new
        queue += new
    text = repr([(each, own[each]) for each in sorted(reached)])
    return hashlib.sha256(text.encode()).hexdigest()


def _identifiers(node: ast.AST) -> tuple[str | None, ...]:
    match node:
        case ast.Name():
            return (node.id,)
        case ast.arg() | ast.keyword():
            return (node.arg,)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.ExceptHandler():
            return (node.name,)
        case ast.alias():
            return (node.asname or node.name.split(".")[0],)
        case ast.MatchAs() | ast.MatchStar():
            return (node.name,)
        case ast.MatchMapping():
            return (node.rest,)
    return ()


def _text(source: str, part: _Part, names: Mapping[str, str], known: set[str]) -> str:
    """Return a unit's source with renamed names, without parts that are written elsewhere."""
    data = source.encode()
    edits = [(start, end, b"") for start, end in part.dropped]
    changed = {old: new for old, new in names.items() if old != new}
    for definition in part.definitions:
        if definition.name in known:
            edits.append((definition.start, definition.end, b""))
            continue
        for place in definition.places:
            renames = {name: changed[name] for name in place.names if name in changed}
            if renames:
                old = data[place.start : place.end].decode()
                new = rename_fstring(old, renames) if place.is_fstring else renames[old]
                edits.append((place.start, place.end, new.encode()))
    note = "".join(f"# {line}".rstrip() + "\n" for line in part.note.splitlines())
    return note + "\n\n" + replace(data, edits).decode().strip("\n")
