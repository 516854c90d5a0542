"""The proposals of an implementation study, read from files.

A file holds one: the seed that is the parent, how many units it changes, and the proposal itself.
`experiments/catalogue/draw.py` draws some.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesys_engine.gab import library
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.tree import GABTree
from genesys_engine.operators.llm.proposal import Proposal

FORMAT = 1


@dataclass(frozen=True)
class StudyProposal:
    """A proposal with its parent, one of the library's seeds; `name` tells it from the others."""

    name: str
    parent: str
    proposal: Proposal

    @property
    def stratum(self) -> int:
        """The number of units that it changes."""
        return len(self.proposal.changes)

    def tree(self) -> GABTree:
        """Return the parent's tree."""
        return library.seed(self.parent)

    def to_json(self) -> dict[str, object]:
        """Return what its file holds."""
        facts = {"format": FORMAT, "parent": self.parent, "units_changed": self.stratum}
        return {**facts, "proposal": self.proposal.to_json()}


def read_proposals(folder: Path) -> tuple[StudyProposal, ...]:
    """Read all proposals of a folder, in the order of their names.

    Raises:
        InputError: there are none, or one is invalid; the message names the file and the fault.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        hint = "set `proposals` of [compare] to the folder of the files"
        raise InputError("no proposals (*.json) in this folder", where=str(folder), hint=hint)
    return tuple(_read(path) for path in paths)


def _read(path: Path) -> StudyProposal:
    hint = f'write {{"format": {FORMAT}, "parent": SEED, "units_changed": N, "proposal": {{...}}}}'
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        json.dumps(data, ensure_ascii=False).encode()  # fails for half a surrogate pair
        return study_proposal(path.stem, data)
    except InputError as error:
        raise InputError(error.message, where=str(path), hint=error.hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"this is not a proposal: {error!r}", where=str(path), hint=hint) from None


def study_proposal(name: str, data: Mapping[str, Any]) -> StudyProposal:
    """Return the proposal that `StudyProposal.to_json` wrote.

    Raises:
        InputError: it names a seed or a unit that does not exist, or a unit twice.
        KeyError, TypeError: it has another form.
    """
    if data["format"] != FORMAT:
        raise InputError(f"a proposal in format {data['format']!r}, this version reads {FORMAT}")
    read = StudyProposal(name, data["parent"], Proposal.from_json(data["proposal"]))
    known = [place.path for place in read.tree().places()]
    paths = [change.path for change in read.proposal.changes]
    for path in paths:
        if path not in known:
            hint = f"its places: {', '.join(known)}"
            raise InputError(f"{read.parent} has no unit at {path!r}", hint=hint)
    if not paths or len(set(paths)) != len(paths):
        raise InputError("a proposal changes one unit or more, each once")
    if data["units_changed"] != len(paths):
        raise InputError(
            f"`units_changed` is {data['units_changed']}, the changes are {len(paths)}"
        )
    order = sorted(read.proposal.changes, key=lambda change: known.index(change.path))
    if tuple(order) != read.proposal.changes:
        raise InputError("the changes must stand in the order of the tree", hint="block first")
    return read
