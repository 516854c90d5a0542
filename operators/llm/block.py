"""A whole block in one prompt and in one reply: its units under names of their own.

A unit that occurs in several places is shown once.  A place named in the proposal gets its own
entry, so that changing it leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genesys_engine.gab.errors import TreeError
from genesys_engine.gab.interfaces import INTERFACES
from genesys_engine.gab.tree import GABTree, unique_name
from genesys_engine.gab.unit import Unit
from genesys_engine.operators.llm import feedback
from genesys_engine.operators.llm.placing import find, place_unit
from genesys_engine.operators.llm.proposal import UnitChange
from genesys_engine.operators.llm.reading import Reading, fault_without_code, read_source
from genesys_engine.operators.llm.sources import Piece, compact, split_units
from genesys_engine.operators.llm.versions import best
from genesys_engine.plugins.api import LLMReply
from genesys_engine.plugins.llm.replies import code_answers

_FULL = ("length", "max_tokens")


@dataclass(frozen=True)
class Entry:
    """A unit of the block as a prompt shows it: `name` is its class there."""

    name: str
    unit: Unit
    paths: tuple[str, ...]
    change: str

    def shown(self) -> dict[str, Any]:
        """Return the fields of a prompt."""
        return {
            "name": self.name,
            "places": ", ".join(self.paths),
            "interface": self.unit.interface,
            "meaning": INTERFACES.get(self.unit.interface, ""),
            "source": compact(self.unit, name=self.name),
            "change": self.change,
            "slots": [slot.name for slot in self.unit.slots],
        }

    def purpose(self) -> dict[str, Any]:
        """Return the facts for back ends without a model."""
        return {
            "path": self.paths[0],
            "unit": self.name,
            "source": self.unit.source,
            "interface": self.unit.interface,
            "slots": {slot.name: [slot.interface, slot.requirement] for slot in self.unit.slots},
            "inputs": list(self.unit.inputs),
            "outputs": list(self.unit.outputs),
            "change": self.change,
        }


def entries(tree: GABTree, changes: Sequence[UnitChange]) -> list[Entry]:
    """Return the units of a tree in prefix order; named places have their own entries."""
    asked = {change.path: change.change for change in changes}
    groups: dict[tuple[str, str], list[str]] = {}
    units: dict[str, Unit] = {}
    for place in tree.places():
        unit = place.node.unit
        units[unit.digest] = unit
        own = place.path if place.path in asked else ""
        groups.setdefault((unit.digest, own), []).append(place.path)
    found: list[Entry] = []
    for (digest, own), paths in groups.items():
        taken = {entry.name for entry in found}
        name = unique_name(units[digest].name, taken)
        found.append(Entry(name, units[digest], tuple(paths), asked.get(own, "")))
    return found


@dataclass(frozen=True)
class BlockReading:
    """The content of a whole-block reply: a tree, or a fault.

    `kept` are the units that the reply omits and that needed no change: they stay as they are.
    `detail` is what else is known where the fault is.
    """

    tree: GABTree | None
    code: str = ""
    message: str = ""
    repairs: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    detail: str = ""


def read_block(reply: LLMReply, tree: GABTree, listed: Sequence[Entry]) -> BlockReading:
    """Read the units of a reply and put them into `tree`, whose units are `listed`."""
    blocks = code_answers(reply.text)
    fault = fault_without_code(reply, blocks)
    if fault is not None:
        return BlockReading(None, fault.code, fault.message)
    pieces, syntax = split_units(blocks, [entry.name for entry in listed])
    given = _matched(pieces, listed)
    missing = [entry for entry in listed if entry.name not in given]
    lost = [entry.name for entry in missing if entry.change]
    if lost:
        if reply.details.get("finish_reason") in _FULL:
            return BlockReading(None, "reply.cut", "The reply ended before the block did.")
        if syntax:
            return BlockReading(None, "contract.syntax", f"A file is not valid Python: {syntax}")
        message = f"The reply does not define {', '.join(lost)}."
        return BlockReading(None, "reply.missing_class", message)
    kept = tuple(entry.name for entry in missing)
    readings = {name: _read(found, entry) for name, (found, entry) in given.items()}
    repairs = tuple(f"{name}: {each}" for name, r in readings.items() for each in r.repairs)
    for name, reading in readings.items():
        if reading.unit is None:
            message = f"{name}: {reading.message}"
            return BlockReading(None, reading.code, message, repairs, kept, reading.detail)
    return _assembled(tree, listed, readings, repairs, kept)


def _read(found: Sequence[Piece], entry: Entry) -> Reading:
    """Read the version of a unit that counts, the last one if it needed no change."""
    versions = [piece.version for piece in (found if entry.change else found[-1:])]
    return best(versions, lambda source: read_source(source, entry.unit), entry.unit)


def _matched(
    pieces: Mapping[str, Sequence[Piece]], listed: Sequence[Entry]
) -> dict[str, tuple[Sequence[Piece], Entry]]:
    """Give each entry its versions: by name, else those of the only name left of its interface."""
    found = {e.name: (pieces[e.name], e) for e in listed if e.name in pieces}
    left = [piece for name, piece in pieces.items() if name not in found]
    for entry in listed:
        fitting = [each for each in left if each[-1].interface == entry.unit.interface]
        if entry.name not in found and entry.change and len(fitting) == 1:
            found[entry.name] = (fitting[0], entry)
            left.remove(fitting[0])
    return found


def _assembled(
    tree: GABTree,
    listed: Sequence[Entry],
    readings: Mapping[str, Reading],
    repairs: tuple[str, ...],
    kept: tuple[str, ...],
) -> BlockReading:
    """Put the units in their places, parents before children, skipping places that are gone."""
    units = {
        path: reading.unit
        for entry in listed
        for path in entry.paths
        if (reading := readings.get(entry.name)) is not None
    }
    child = tree
    try:
        for place in tree.places():
            unit = units.get(place.path)
            # One that came back unchanged stays as it was, with its comments.
            new = unit is not None and unit.digest != place.node.unit.digest
            if unit is not None and new and find(child, place.path) is not None:
                child = place_unit(child, place.path, unit)
        child.validate()
    except TreeError as error:
        return BlockReading(None, "tree.misfit", feedback.of_error(error, ""), repairs, kept)
    return BlockReading(child, repairs=repairs, kept=kept)
