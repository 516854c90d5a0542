"""The proposals of an implementation study: made from the catalogue, kept as files, read back.

They are stratified by the number of units that they change.  A file holds one: its number, the
seed that is the parent, the stratum, and the proposal itself.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesys_engine.engine.common.randomness import generator
from genesys_engine.engine.compare.catalogue import CATALOGUE, Change
from genesys_engine.gab import library
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.tree import GABTree, Place
from genesys_engine.operators.llm.proposal import Proposal, UnitChange

FORMAT = 1
STRATA = (1, 2, 3, 5)


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

    def to_json(self) -> dict[str, Any]:
        """Return what its file holds."""
        facts = {"format": FORMAT, "parent": self.parent, "units_changed": self.stratum}
        return {**facts, "proposal": self.proposal.to_json()}


def make_proposals(
    seed: int, per_stratum: int, strata: Sequence[int] = STRATA
) -> tuple[StudyProposal, ...]:
    """Draw proposals from the catalogue; equal arguments give equal ones.

    The strata alternate, so that the first few proposals are a fair sample of all.  Parents take
    turns, and of a unit's changes those come first that were asked for least.

    Raises:
        InputError: no seed has as many distinct units as a stratum changes.
    """
    asked: Counter[Change] = Counter()
    turns: Counter[int] = Counter()
    made = []
    for index in range(per_stratum * len(strata)):
        stratum = strata[index % len(strata)]
        rng = generator(seed, "proposal", index)
        parents = [name for name in library.seed_names() if len(_places(name)) >= stratum]
        if not parents:
            raise InputError(f"no seed has {stratum} distinct units to change")
        # Strata begin at different seeds, else each would meet the same ones.
        parent = parents[(turns[stratum] + strata.index(stratum)) % len(parents)]
        turns[stratum] += 1
        made.append(_proposal(index, parent, stratum, asked, rng))
    return tuple(made)


def _places(seed: str) -> list[Place]:
    """Return the places of a seed that can be changed, one for each distinct unit."""
    found: dict[str, Place] = {}
    for place in library.seed(seed).places():
        if place.node.name in CATALOGUE:
            found.setdefault(place.node.unit.digest, place)
    return list(found.values())


def _proposal(
    index: int, parent: str, stratum: int, asked: Counter[Change], rng: random.Random
) -> StudyProposal:
    # Units whose changes were asked for least come first; chance decides between equals.
    places = _places(parent)
    rng.shuffle(places)
    places.sort(key=lambda place: _least(place, asked))
    chosen = sorted(places[:stratum], key=lambda place: place.index)
    changes, reasons = [], []
    for place in chosen:
        options = list(CATALOGUE[place.node.name])
        rng.shuffle(options)
        change = min(options, key=lambda each: asked[each])
        asked[change] += 1
        changes.append(UnitChange(place.path, change.text))
        reasons.append(f"{place.path} ({place.node.name}): {change.why}")
    names = ", ".join(place.node.name for place in chosen)
    proposal = Proposal(
        title=f"{parent}: change {names}",
        motivation="; ".join(reasons) + ".",
        changes=tuple(changes),
        expected_effect="Not worse at equal size; the study asks only whether it can be built.",
    )
    return StudyProposal(f"{index + 1:02d}-{stratum}-{parent}", parent, proposal)


def _least(place: Place, asked: Counter[Change]) -> float:
    """Return how often the changes of a unit were asked for, on the average."""
    options = CATALOGUE[place.node.name]
    return sum(asked[each] for each in options) / len(options)


# --- files -----------------------------------------------------------------------------------


def write_proposals(proposals: Sequence[StudyProposal], folder: Path) -> None:
    """Write one file for each proposal into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in proposals:
        text = json.dumps(each.to_json(), indent=2, ensure_ascii=False)
        (folder / f"{each.name}.json").write_text(text + "\n", encoding="utf-8")


def read_proposals(folder: Path) -> tuple[StudyProposal, ...]:
    """Read all proposals of a folder, in the order of their names.

    Raises:
        InputError: there is none, or one is not usable; it names the file and the fault.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        hint = "give the folder of the files, or leave it out to have them made"
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
