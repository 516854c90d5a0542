"""Sources of units as prompts show them and as replies hold them."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from genesys_engine.gab.scopes import Lines, references, replace
from genesys_engine.gab.syntax import UNREADABLE, docstring_statement, parse
from genesys_engine.gab.unit import Unit
from genesys_engine.operators.llm.repairs.draft import attribute

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef


def compact(unit: Unit, *, name: str = "") -> str:
    """Return a unit's source as a prompt shows it: docstrings cut to a line, the class renamed.

    What a docstring tells beyond its first line is the specification, which a prompt gives in
    words: so the model need not write it again.
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
    """Return the text of one class of a source; all of it where there is none, or a fault."""
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
    """One class of a reply with what it needs: imports, helpers, constants."""

    name: str
    interface: str | None
    source: str


def split_units(blocks: Iterable[str], names: Iterable[str]) -> tuple[dict[str, Piece], str]:
    """Take a reply with several units apart.

    A class is a unit if it is called by one of `names` or names an interface.  Of two classes of
    one name the last counts.  Returns the pieces by name, and the first syntax error, or "".
    """
    wanted, found, fault = set(names), dict[str, Piece](), ""
    for block in blocks:
        try:
            found |= _pieces(parse(block), wanted)
        except UNREADABLE as error:
            fault = fault or f"{error}"
    return found, fault


def _pieces(module: ast.Module, wanted: Collection[str]) -> dict[str, Piece]:
    """Return the units of a module by name."""
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    units = [n for n in classes if n.name in wanted or attribute(n, "interface") is not None]
    return {
        node.name: Piece(
            node.name, _literal(attribute(node, "interface")), _cut(module, node, units)
        )
        for node in units
    }


def _literal(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _cut(module: ast.Module, unit: ast.ClassDef, units: list[ast.ClassDef]) -> str:
    """Return the source of one unit: all imports, and the definitions that it refers to."""
    others = {node.name for node in units if node is not unit}
    bound = {_bound(node): node for node in module.body if _bound(node)}
    needed, waiting = {unit.name}, [unit.name]
    while waiting:
        node = bound[waiting.pop()]
        named = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        new = sorted((named & set(bound)) - needed - others)
        needed |= set(new)
        waiting += new
    kept = [
        node
        for node in module.body
        if isinstance(node, ast.Import | ast.ImportFrom) or _bound(node) in needed
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
