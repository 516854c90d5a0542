"""Draw the proposals of an implementation study from a catalogue of changes.

    python -m experiments.catalogue.draw experiments/proposals --seed 1 --each 6 --units 1 2 3 5
    python -m experiments.catalogue.draw experiments/proposals/seven --seed 1 --each 40 --units 7

They are stratified by the number of units that they change.  Equal arguments give equal files.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from experiments.catalogue.changes import CATALOGUE, Change
from genesys_engine.engine.common.randomness import generator
from genesys_engine.engine.compare.proposals import StudyProposal
from genesys_engine.gab import library
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.tree import Place
from genesys_engine.operators.llm.proposal import Proposal, UnitChange

STRATA = (1, 2, 3, 5)


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


def write_proposals(proposals: Sequence[StudyProposal], folder: Path) -> None:
    """Write one file for each proposal into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in proposals:
        text = json.dumps(each.to_json(), indent=2, ensure_ascii=False)
        (folder / f"{each.name}.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Draw proposals and write them, one file each."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--each", type=int, default=6, help="proposals for each number of units")
    parser.add_argument("--units", type=int, nargs="+", default=STRATA, help="numbers of units")
    given = parser.parse_args()
    if min(given.each, *given.units) < 1:
        parser.error("--each and --units are 1 or more")
    try:
        proposals = make_proposals(given.seed, given.each, given.units)
    except InputError as error:
        parser.error(f"--units: {error.message}")
    write_proposals(proposals, given.folder)


if __name__ == "__main__":
    main()
