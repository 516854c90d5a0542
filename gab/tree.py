"""GABTree, the genome: a tree of units, stored as a DEAP genetic-programming tree.

A tree is a list of nodes in prefix order, children in the order of their parent's slots, so
everything in DEAP that works on a `PrimitiveTree` works on it: height, subtree search, guarded
slice assignment, `staticLimit`, statistics.  Whether a child fits a slot is checked here.

Trees are immutable by convention: every method returns a new tree; the list's own mutating
methods are for DEAP's operators.  Nodes are frozen and shared between trees.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from deap import gp

from genesys_engine.gab.errors import TreeError
from genesys_engine.gab.interfaces import ROOT_INTERFACE
from genesys_engine.gab.unit import Unit, Value, parse_unit

FORMAT = 1
MAX_DEPTH = 64
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Node:
    """A unit at a place, with the hyper-parameters that differ from the unit's defaults.

    `name`, `arity`, `ret` and `args` are what DEAP asks of a primitive.
    """

    unit: Unit
    hyperparameters: tuple[tuple[str, Value], ...] = ()

    @property
    def name(self) -> str:
        """The unit's name."""
        return self.unit.name

    @property
    def arity(self) -> int:
        """The number of children."""
        return len(self.unit.slots)

    @property
    def ret(self) -> str:
        """The interface offered (DEAP: the return type)."""
        return self.unit.interface

    @property
    def args(self) -> list[str]:
        """The interfaces asked of the children (DEAP: the argument types)."""
        return [slot.interface for slot in self.unit.slots]

    @cached_property
    def values(self) -> Mapping[str, Value]:
        """All hyper-parameters, defaults included, in the order of the constructor."""
        defaults = {parameter.name: parameter.default for parameter in self.unit.hyperparameters}
        return {**defaults, **dict(self.hyperparameters)}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the unit's digest and its effective hyper-parameters."""
        return _sha256([self.unit.digest, sorted(self.values.items())])

    @cached_property
    def misfit(self) -> TreeError | None:
        """What is wrong with the name or type of a hyper-parameter, if anything.

        Kept: nodes are frozen, and most of a child's are its parent's.
        """
        try:
            self.with_values(dict(self.hyperparameters))
        except TreeError as error:
            return error
        return None

    def format(self, *children: str) -> str:
        """Return the node as a call, as `str(tree)` shows it."""
        slots = [
            f"{slot.name}={child}" for slot, child in zip(self.unit.slots, children, strict=True)
        ]
        changed = [f"{name}={value!r}" for name, value in self.hyperparameters]
        return f"{self.name}({', '.join(slots + changed)})"

    def with_values(self, values: Mapping[str, Value]) -> Node:
        """Return the node with some hyper-parameters set; `TreeError` on a wrong name or type."""
        effective = dict(self.values)
        for name, value in values.items():
            parameter = self.unit.hyperparameter(name)
            try:
                effective[name] = parameter.checked(value)
            except TypeError as error:
                raise TreeError(f"{self.name}: {error}") from None
        defaults = {parameter.name: parameter.default for parameter in self.unit.hyperparameters}
        changed = {n: v for n, v in effective.items() if v != defaults[n]}
        return Node(self.unit, tuple(sorted(changed.items())))


@dataclass(frozen=True)
class Place:
    """Where a node stands: its index in prefix order and its path, like "root.mixer.norm"."""

    index: int
    path: str
    node: Node
    parent: int | None
    slot: str | None
    depth: int


class GABTree(gp.PrimitiveTree):  # type: ignore[misc]
    """A tree (or subtree) of units in prefix order."""

    def __init__(self, content: Iterable[Node]) -> None:
        super().__init__(content)

    @property
    def digest(self) -> str:
        """SHA-256 by which equal trees are known: units' digests, hyper-parameters, structure.

        Not cached: the nodes' digests are, and DEAP may change the list in place.
        """
        return _sha256([[node.digest, node.arity] for node in self])

    def places(self) -> list[Place]:
        """Return every node with its path, in prefix order."""
        places: list[Place] = []
        waiting: list[tuple[int | None, str | None, str, int]] = [(None, None, "root", 0)]
        for index, node in enumerate(self):
            if not waiting:
                raise TreeError(f"the tree ends before node {index} ({node.name})")
            parent, slot, path, depth = waiting.pop()
            places.append(Place(index, path, node, parent, slot, depth))
            for child in reversed(node.unit.slots):
                waiting.append((index, child.name, f"{path}.{child.name}", depth + 1))
        if waiting:
            raise TreeError(f"nothing stands at {waiting[-1][2]}", hint="fill every slot")
        return places

    def subtree(self, index: int) -> GABTree:
        """Return the subtree that begins at `index`."""
        return GABTree(self[self.searchSubtree(self._checked(index))])

    def children(self, index: int) -> dict[str, int]:
        """Return the indices of a node's children by slot, in the order of the slots."""
        at = self._checked(index) + 1
        found: dict[str, int] = {}
        for slot in self[index].unit.slots:
            found[slot.name] = at
            at = self.searchSubtree(at).stop
        return found

    def replace(self, index: int, subtree: GABTree) -> GABTree:
        """Return a tree with another subtree at `index`; `TreeError` on a wrong interface."""
        old, new = self[self._checked(index)], subtree[0]
        if old.ret != new.ret:
            path = self.places()[index].path
            message = f"{path} needs the interface {old.ret!r}, {new.name} offers {new.ret!r}"
            raise TreeError(message, where=path, hint=f"put a unit of interface {old.ret!r} there")
        tree = GABTree(self)
        tree[tree.searchSubtree(index)] = subtree
        return tree

    def with_hyperparameters(self, index: int, values: Mapping[str, Value]) -> GABTree:
        """Return a tree with hyper-parameters set at one place, the others as they are."""
        tree = GABTree(self)
        tree[index] = self[self._checked(index)].with_values(values)
        return tree

    def units(self) -> list[Unit]:
        """Return the units that differ by digest, in prefix order."""
        found: dict[str, Unit] = {}
        for node in self:
            found.setdefault(node.unit.digest, node.unit)
        return list(found.values())

    def check_structure(self) -> None:
        """Check that every slot holds a unit of its interface with fitting hyper-parameters.

        Raises:
            TreeError: naming the place and what to do; also where the tree is too deep to be
                read back from its JSON.
        """
        for place in self.places():
            node = place.node
            if place.depth >= MAX_DEPTH:
                raise _too_deep(place.path)
            if place.parent is not None and place.slot is not None:
                slot = self[place.parent].unit.slot(place.slot)
                if slot.interface != node.ret:
                    message = f"{node.name} offers {node.ret!r}, the slot needs {slot.interface!r}"
                    hint = f"put a unit of interface {slot.interface!r} there: {slot.requirement}"
                    raise TreeError(message, where=place.path, hint=hint)
            if (misfit := node.misfit) is not None:
                raise TreeError(misfit.message, where=place.path, hint=misfit.hint)

    def validate(self) -> None:
        """Check a whole tree: its structure, its root, and that every Z value read is written.

        Raises:
            TreeError: naming the place and what to do.
        """
        self.check_structure()
        if self[0].ret != ROOT_INTERFACE:
            message = f"{self[0].name} offers {self[0].ret!r}, a whole tree's root is a block"
            raise TreeError(message, where="root", hint=f"root a unit of {ROOT_INTERFACE!r}")
        written = {name for node in self for name in node.unit.outputs}
        for place in self.places():
            for name in place.node.unit.inputs:
                if name not in written:
                    known = ", ".join(sorted(written)) or "none"
                    raise TreeError(
                        f"{place.node.name} reads the value {name!r} of Z, which no unit writes",
                        where=place.path,
                        hint=f"place a unit that writes {name!r}; values written here: {known}",
                    )

    def describe(self) -> str:
        """Return an indented picture: one line per place, with all its hyper-parameters."""
        lines = []
        for place in self.places():
            values = ", ".join(f"{name}={value!r}" for name, value in place.node.values.items())
            label = f"{place.slot}: " if place.slot else ""
            lines.append(f"{'    ' * place.depth}{label}{place.node.name}({values})")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the tree, sources included, as plain JSON data (see `from_json`)."""
        names: dict[Unit, str] = {}
        for node in self:
            if node.unit not in names:
                names[node.unit] = unique_name(node.name, set(names.values()))
        units = {name: unit.source for unit, name in names.items()}
        return {"format": FORMAT, "units": units, "root": self._entry(0, names)}

    def _entry(self, index: int, names: Mapping[Unit, str]) -> dict[str, Any]:
        node = self[index]
        children = {slot: self._entry(at, names) for slot, at in self.children(index).items()}
        hyperparameters = dict(node.hyperparameters)
        return {"unit": names[node.unit], "hyperparameters": hyperparameters, "children": children}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GABTree:
        """Read a tree: {"format": 1, "units": {name: source}, "root": entry}.

        An entry is {"unit": name, "hyperparameters": {...}, "children": {slot: entry}}.  Units
        that no entry names are not read.

        Raises:
            TreeError: the data is not a tree.
            UnitError: a source breaks the unit contract.
        """
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            raise TreeError("this is not a tree", hint=f'expected {{"format": {FORMAT}, ...}}')
        units = data.get("units")
        if not isinstance(units, Mapping) or "root" not in data:
            raise TreeError("this is not a tree", hint='"units" and "root" are needed')
        tree = cls(_read_entry(data["root"], units, "root"))
        tree.check_structure()
        return tree

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise TreeError(f"there is no node {index} in a tree of {len(self)}")
        return index


def grow(
    unit: Unit, children: Mapping[str, GABTree] = _NOTHING, **hyperparameters: Value
) -> GABTree:
    """Return the tree of a unit with a subtree for each of its slots.

    Raises:
        TreeError: a slot is missing, unknown or holds a wrong interface, or a hyper-parameter
            is unknown or of a wrong type.
    """
    node = Node(unit).with_values(hyperparameters)
    for name in children:
        unit.slot(name)
    tree = GABTree([node, *_filled(unit, children)])
    tree.check_structure()
    return tree


def _filled(unit: Unit, children: Mapping[str, Sequence[Node]]) -> Iterator[Node]:
    """Yield the nodes of the children in the order of the slots, each of which needs one."""
    for slot in unit.slots:
        if slot.name not in children:
            hint = f"give it a unit of interface {slot.interface!r}: {slot.requirement}"
            raise TreeError(f"slot {slot.name!r} of {unit.name} is empty", hint=hint)
        yield from children[slot.name]


def unique_name(name: str, taken: set[str]) -> str:
    """Return `name`, with the first number from 2 on that makes it differ from `taken`."""
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def _read_entry(entry: Any, units: Mapping[str, Any], path: str) -> list[Node]:
    """Return the nodes of an entry in prefix order; whether they fit each other is not checked."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("unit"), str):
        raise TreeError('this is not a node: no "unit" is named', where=path)
    name = entry["unit"]
    hyperparameters = entry.get("hyperparameters", _NOTHING)
    children = entry.get("children", _NOTHING)
    if not isinstance(hyperparameters, Mapping) or not isinstance(children, Mapping):
        raise TreeError('"hyperparameters" and "children" are objects', where=path)
    if not isinstance(units.get(name), str):
        known = ", ".join(map(str, units)) or "none"
        raise TreeError(f"unit {name!r} is not in the table", where=path, hint=f"units: {known}")
    if path.count(".") >= MAX_DEPTH:
        raise _too_deep(path)
    unit = parse_unit(units[name], where=name)
    with _at(path):
        for slot in children:
            unit.slot(slot)
    read = {slot: _read_entry(child, units, f"{path}.{slot}") for slot, child in children.items()}
    with _at(path):
        return [Node(unit).with_values(hyperparameters), *_filled(unit, read)]


@contextmanager
def _at(path: str) -> Iterator[None]:
    """Name the place in a `TreeError`."""
    try:
        yield
    except TreeError as error:
        raise TreeError(error.message, where=path, hint=error.hint) from None


def _too_deep(path: str) -> TreeError:
    """Return the error that a place lies too deep."""
    message = f"the tree is deeper than {MAX_DEPTH}"
    return TreeError(message, where=path[:80], hint="nest fewer units in each other")


def _sha256(data: object) -> str:
    text = json.dumps(data, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
