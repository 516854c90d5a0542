"""Would adaptive operator selection have preferred what gained?  Estimated from a run's records.

    python experiments/bench/credit_replay.py RUN

RUN is the folder of a run whose operators were drawn by fixed weights. Its children are gone
through in order. Credit is assigned from the results that the decision for a child knew, which
gives factors of operators and of kinds of places, and the child counts by the factors of its
own. The mean reward so weighted estimates what the adaptive choice would have earned (self-
normalised importance sampling). Next to it stands the mean reward that the fixed weights
earned, and the difference with a 95 % interval (bootstrap over children). A reward is the
square of the rank of a child's gain over its better parent, among all children of the run.
Nothing is trained.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genesys_engine.engine.jobs.tasks import DesignTask
from genesys_engine.engine.propose.designer import changed_interface
from genesys_engine.engine.select.credit import Credit
from genesys_engine.engine.store.event_types import DesignAccepted
from genesys_engine.engine.store.run_store import DesignRow, Store
from genesys_engine.gab.tree import GABTree
from genesys_engine.plugins.api import Child, Parent

RESAMPLES = 4000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """A child: what made it, where, the two factors at its decision, and what it gained."""

    operator: str
    place: str
    of_operator: float
    of_place: float
    gained: float | None


def main() -> None:
    """Print the rewards with and without the factors, and what each operator earned."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    with Store.open(parser.parse_args().run) as store:
        trials = replayed(store)
    rewards = ranked([trial.gained for trial in trials]) ** 2
    print(f"{len(trials)} children, {sum(t.gained is None for t in trials)} of them without a gain")
    for what, factors in (
        ("operators", [trial.of_operator for trial in trials]),
        ("places", [trial.of_place for trial in trials]),
        ("both", [trial.of_operator * trial.of_place for trial in trials]),
    ):
        show(what, np.array(factors), rewards)
    for name in ("operator", "place"):
        of = np.array([getattr(trial, name) for trial in trials])
        for value in sorted(set(of)):
            mean = rewards[of == value].mean()
            print(f"  {name} {value or '-':24} {(of == value).sum():4} children, reward {mean:.3f}")


def replayed(store: Store) -> list[Trial]:
    """Return the children of a run in order, each with the factors that its decision would know."""
    tasks = {row.seq: row.task for row in store.tasks()}
    gains = [
        (row.id, row.design, row.fitness)
        for row in store.verifications()
        if row.rung == 0 and row.replicate == 0
    ]
    of_design = {design: gain for _, design, gain in gains if gain is not None}
    designs = [design for design in store.designs() if design.accepted]
    places = places_of(store, designs)
    credit, entered, measured, trials = Credit(), 0, 0, []
    for child in designs:
        task = tasks[child.seq]
        assert isinstance(task, DesignTask)
        assert task.verified_before is not None, "the run is of a version that did not note it"
        while entered < len(designs) and designs[entered].id < task.known_before:
            enter(credit, designs[entered], places)
            entered += 1
        while measured < len(gains) and gains[measured][0] < task.verified_before:
            credit.measured(*gains[measured][1:])
            measured += 1
        if task.seed is not None:
            continue
        weights, place = credit.weights(), places[child.id]
        before = [of_design[p] for p in child.parents if p in of_design]
        gain = of_design.get(child.id)
        gained = None if gain is None else gain - max(before, default=0.0)
        of_operator = weights.operators.get(child.operator, 1.0)
        trials.append(
            Trial(child.operator, place, of_operator, weights.places.get(place, 1.0), gained)
        )
    return trials


def enter(credit: Credit, design: DesignRow, places: dict[int, str]) -> None:
    """Note a design, if it is a child."""
    if design.parents or not design.operator.startswith("seed:"):
        credit.made(design.id, design.operator, places[design.id], design.parents, failed=False)


def places_of(store: Store, designs: list[DesignRow]) -> dict[int, str]:
    """Return the interface of the place of the first parent at which each design was changed."""
    details = {record.design: record.details or {} for record in store.records(DesignAccepted)}
    found = {}
    for design in designs:
        tree = GABTree.from_json(store.tree(design.id))
        of = [Parent(p, GABTree.from_json(store.tree(p)), 0.0, "") for p in design.parents[:1]]
        found[design.id] = changed_interface(Child(tree, "", details.get(design.id, {})), of)
    return found


def ranked(gained: list[float | None]) -> Floats:
    """Return ranks from 0, of what has failed, to 1."""
    values = np.array([-np.inf if gain is None else gain for gain in gained])
    return np.array(
        [np.mean(values < v) + np.mean(values == v) / 2 if np.isfinite(v) else 0.0 for v in values]
    )


def show(what: str, factors: Floats, rewards: Floats) -> None:
    """Print the mean reward by factor, the plain one, and their difference."""
    rng = np.random.default_rng(0)

    def difference(at: NDArray[np.int64]) -> float:
        return float(np.average(rewards[at], weights=factors[at]) - rewards[at].mean())

    every = np.arange(len(rewards))
    drawn = [difference(rng.integers(0, len(every), len(every))) for _ in range(RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    best = rewards >= np.quantile(rewards, 0.9)
    preferred = factors[best].mean() / factors.mean()
    effective = factors.sum() ** 2 / (factors**2).sum()
    adaptive = np.average(rewards, weights=factors)
    print(
        f"{what:9}: fixed {rewards.mean():.3f}, adaptive {adaptive:.3f},"
        f" difference {difference(every):+.3f} ({low:+.3f} to {high:+.3f}),"
        f" as of {effective:.0f} children; the best tenth drawn {preferred:.2f} times as often"
    )


if __name__ == "__main__":
    main()
