"""Choosing between several versions of a class in one reply.

A reply may show the old class before or after the new one, a draft before the final one, a usage
example after it, or one file in several blocks.  The content of a version matters more than its
position: it is readable, differs from the prompt, is not an aside, and has the right name.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from genesys_engine.gab.scopes import undefined_names
from genesys_engine.gab.syntax import UNREADABLE, canonical, parse
from genesys_engine.gab.unit import Unit
from genesys_engine.operators.llm.repairs.draft import bound_names, method
from genesys_engine.plugins.llm.replies import Answer

MAX_VERSIONS = 24
"""Versions that are looked at, the last ones of a reply."""


@dataclass(frozen=True)
class Version:
    """One class of a reply as its own source; `named` is whether it has the requested name."""

    source: str
    named: bool = True
    aside: bool = False


class Read(Protocol):
    """The result of reading a version."""

    @property
    def unit(self) -> Unit | None:
        """The unit, None where it cannot be read."""

    @property
    def source(self) -> str:
        """The source as it was read."""


R = TypeVar("R", bound=Read)


def best(
    versions: Sequence[Version],
    read: Callable[[str], R],
    original: Unit,
    shown: Iterable[str] = (),
) -> R:
    """Read the version that counts.

    Args:
        versions: in the order of the reply, at least one.
        read: reads a source.
        original: the unit to replace.
        shown: further sources in the prompt, such as the last try.
    """
    if len(versions) == 1:
        return read(versions[0].source)
    known = {text for each in shown if (text := _canonical(each))}
    readings = [(read(version.source), version) for version in versions[-MAX_VERSIONS:]]

    def merit(at: int) -> tuple[bool, ...]:
        reading, version = readings[at]
        same = reading.unit is not None and reading.unit.digest == original.digest
        new = not same and _canonical(reading.source) not in known
        return reading.unit is not None and new, new, not version.aside, version.named

    return readings[max(range(len(readings)), key=lambda at: (*merit(at), at))][0]


def versions_of(blocks: Sequence[Answer], name: str) -> list[Version]:
    """Return every version of the class `name` in the blocks of a reply, in order.

    Other classes with a `forward` count too, unless they use it or are used by it.  Definitions
    from other blocks that a version needs are put before it.  Without any class, the longest block
    is returned.
    """
    parts = parts_of(blocks)
    named = [node for part in parts for node in part.classes if node.name == name]
    used = {part.id for node in named for part in ast.walk(node) if isinstance(part, ast.Name)}
    found = [
        version
        for part in parts
        for version in _versions(part, parts, name, used | {n.name for n in named})
    ]
    if not found:
        texts = [str(block.value) for block in blocks]
        holding = [text for text in texts if "class " in text]
        found = [Version(holding[-1] if holding else max(texts, key=len))]
    return found


@dataclass(frozen=True)
class Part:
    """A block of a reply with its syntax tree, None if it is not Python (see `fault`)."""

    text: str
    aside: bool
    module: ast.Module | None
    fault: str = ""

    @property
    def body(self) -> list[ast.stmt]:
        """Its statements."""
        return [] if self.module is None else self.module.body

    @property
    def classes(self) -> list[ast.ClassDef]:
        """Its classes."""
        return [node for node in self.body if isinstance(node, ast.ClassDef)]


def parts_of(blocks: Iterable[Answer]) -> list[Part]:
    """Return the blocks of a reply with their syntax trees."""
    parts = []
    for block in blocks:
        try:
            parts.append(Part(block.value, block.aside, parse(block.value)))
        except UNREADABLE as error:
            parts.append(Part(block.value, block.aside, None, f"{error}"))
    return parts


def _versions(
    part: Part, parts: Sequence[Part], name: str, related: Collection[str]
) -> Iterator[Version]:
    if part.module is None:
        if f"class {name}(" in part.text:
            yield Version(part.text, aside=part.aside)
        return
    found = [
        node
        for node in part.classes
        if node.name == name
        or (method(node, "forward") and node.name not in related and name not in _names(node))
    ]
    for node in found:
        others = [each for each in found if each is not node]
        text = _without(part.text, others) if others else part.text
        yield Version(completed(text, part, parts), node.name == name, part.aside)


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _without(text: str, nodes: Iterable[ast.stmt]) -> str:
    """Return a source without some of its statements."""
    lines = text.splitlines(keepends=True)
    for node in nodes:
        first, last = _span(node)
        lines[first:last] = [""] * (last - first)
    return "".join(lines)


def _span(node: ast.stmt) -> tuple[int, int]:
    """Return the first line of a statement, decorators included, and the one behind it, from 0."""
    above = [each.lineno for each in getattr(node, "decorator_list", ())]
    return min([node.lineno, *above]) - 1, node.end_lineno or node.lineno


def completed(text: str, own: Part, parts: Sequence[Part]) -> str:
    """Return a source of the block `own` with the definitions of other blocks that it needs."""
    known = {
        name: (number, node)
        for number, part in enumerate(parts)
        if part is not own
        for node in part.body
        for name in bound_names(node)
        if not _is_example(node, name)
    }
    taken: dict[tuple[int, int], str] = {}
    while known and (missing := sorted(_undefined("".join(taken.values()) + text) & set(known))):
        for name in missing:
            number, node = known.pop(name)
            first, last = _span(node)
            lines = parts[number].text.splitlines(keepends=True)[first:last]
            taken[number, first] = "".join(lines)
    before = "".join(taken[place] for place in sorted(taken))
    return f"{before}\n\n{text}" if before else text


def _is_example(node: ast.stmt, name: str) -> bool:
    """Return whether a value belongs to a usage example: constants are in capitals."""
    return isinstance(node, ast.Assign | ast.AnnAssign) and not name.strip("_").isupper()


def _undefined(text: str) -> set[str]:
    """Return the names in a source that nothing binds."""
    try:
        body = parse(text).body
        bound = {name for node in body for name in bound_names(node)}
        return {name for node in body for name in undefined_names(node, bound)}
    except UNREADABLE:
        return set()


def _canonical(source: str) -> str:
    """Return a canonical form, equal for equal sources; "" if it cannot be parsed."""
    try:
        return canonical(parse(source))
    except UNREADABLE:
        return ""
