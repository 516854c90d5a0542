"""Sources of units in prompts and replies."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from genesys_engine.gab.scopes import Lines, references, replace
from genesys_engine.gab.syntax import UNREADABLE, docstring_statement, parse
from genesys_engine.gab.unit import Unit
from genesys_engine.operators.llm.repairs.draft import attribute
from genesys_engine.operators.llm.versions import Part, Version, completed, parts_of
from genesys_engine.plugins.llm.replies import Answer

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef


def compact(unit: Unit, *, name: str = "") -> str:
    """Return a unit's source for a prompt: docstrings cut to one line, the class renamed.

    The rest of a docstring is the specification, which prompts state separately, so that the model
    need not repeat it.
    """
    module = parse(unit.source)
    lines = Lines(unit.source)
    edits: list[tuple[int, int, bytes]] = []
    for node in ast.walk(module):
        if not isinstance(node, _Documented) or (text := docstring_statement(node)) is None:
            continue
        if isinstance(node, ast.Module):
            edits.append((*lines.whole(text), b""))
        else:
            first = (ast.get_docstring(node) or "").strip().partition("\n")[0]
            edits.append((*lines.span(text), f'"""{first}"""'.encode()))
    if name and name != unit.name:
        for statement in module.body:
            for place in references(statement, [unit.name], lines)[0]:
                edits.append((place.start, place.end, name.encode()))
    return replace(lines.data, edits).decode().strip("\n") + "\n"


def class_of(source: str, name: str) -> str:
    """Return the text of a class; the whole source if it has none or cannot be parsed."""
    try:
        module = parse(source)
    except UNREADABLE:
        return source
    for node in module.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return (ast.get_source_segment(source, node) or source).strip("\n") + "\n"
    return source


def function_lines(source: str) -> int:
    """Return the lines of function bodies in a source, without docstrings and blank lines."""
    counted: set[int] = set()
    lines = source.splitlines()
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.FunctionDef):
            text = docstring_statement(node)
            for part in node.body:
                if part is not text:
                    counted |= set(range(part.lineno, (part.end_lineno or part.lineno) + 1))
    return sum(bool(lines[number - 1].strip()) for number in counted)


@dataclass(frozen=True)
class Piece:
    """One class of a reply with the imports, helpers and constants that it needs."""

    name: str
    interface: str | None
    version: Version


def split_units(
    blocks: Sequence[Answer], names: Iterable[str]
) -> tuple[Mapping[str, Sequence[Piece]], str]:
    """Split a reply with several units.

    A class is a unit if it is called by one of `names` or names an interface.  Returns by name
    every version of a unit, in the order of the reply, and the first syntax error, or "".
    """
    wanted, parts = set(names), parts_of(blocks)
    faults = [part.fault for part in parts if part.module is None]
    found: dict[str, list[Piece]] = defaultdict(list)
    for part in parts:
        try:
            for piece in list(_pieces(part, parts, wanted)):
                found[piece.name].append(piece)
        except UNREADABLE as error:  # it can be read, and not written again
            faults.append(f"{error}")
    return found, next(iter(faults), "")


def _pieces(part: Part, parts: Sequence[Part], wanted: Collection[str]) -> Iterable[Piece]:
    """Yield the units of a block."""
    named = [n for n in part.classes if n.name in wanted or attribute(n, "interface") is not None]
    for node in named:
        source = completed(_cut(part.body, node, named), part, parts)
        interface = _literal(attribute(node, "interface"))
        yield Piece(node.name, interface, Version(source, aside=part.aside))


def _literal(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _cut(body: Sequence[ast.stmt], unit: ast.ClassDef, units: Sequence[ast.ClassDef]) -> str:
    """Return the source of one unit: all imports, and the definitions that it refers to."""
    others = {node.name for node in units}
    bound = {_bound(node): node for node in body if _bound(node) not in ("", unit.name)}
    needed, waiting = set[str](), list[ast.stmt]([unit])
    while waiting:
        node = waiting.pop()
        named = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        new = sorted((named & set(bound)) - needed - others)
        needed |= set(new)
        waiting += [bound[name] for name in new]
    kept = [
        node
        for node in body
        if node is unit or isinstance(node, ast.Import | ast.ImportFrom) or _bound(node) in needed
    ]
    return "\n\n".join(ast.unparse(node) for node in kept) + "\n"


def _bound(node: ast.stmt) -> str:
    """Return the name that a definition binds, or ""."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return ""
