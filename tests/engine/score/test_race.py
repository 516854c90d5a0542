"""The race of the finals: who drops out when, how wide intervals are, how often it is wrong."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from genesys_engine.engine.score.finals import (
    Entries,
    Finals,
    FinalsProgress,
    finals_in,
    most_trainings,
)
from genesys_engine.engine.score.noise import noise_of
from genesys_engine.engine.score.race import FAILED, Race, Rule, hold, look_seeds
from genesys_engine.engine.score.significance import normal_quantile, quantile
from genesys_engine.engine.store.replicates import FRESH

REFERENCE, SEED, CHILD = 0, 1, 2


def finals(
    gains: Mapping[int, Sequence[float | None]], seeds: int = 2, until: int | None = None
) -> Finals:
    """Return finals whose gains are given; None is a training that failed, seeds come first."""
    designs = sorted(gains)
    found = Finals(Entries(tuple(designs[:seeds]), tuple(designs[seeds:])))
    for design, row in gains.items():
        for index, gain in enumerate(row[:until]):
            found.done.add((design, FRESH + index))
            if gain is not None:
                found.gains.setdefault(design, {})[FRESH + index] = gain
    return found


def trained(race: Race) -> list[tuple[int, int]]:
    return [(design, replicate - FRESH) for design, replicate in race.wanted]


@pytest.mark.parametrize(
    ("seeds", "looks"),
    [(1, (1,)), (2, (2,)), (3, (2, 3)), (4, (2, 4)), (5, (2, 4, 5)), (8, (2, 4, 8))],
)
def test_looks_double_and_the_last_seed_has_one(seeds: int, looks: tuple[int, ...]) -> None:
    assert look_seeds(seeds) == looks


@pytest.mark.parametrize("seeds", range(1, 20))
@pytest.mark.parametrize("designs", [2, 3, 7])
def test_the_looks_and_pairs_spend_one_error_together(designs: int, seeds: int) -> None:
    rule = Rule(Entries((0,), tuple(range(1, designs))), look_seeds(seeds), None)
    pairs = designs * (designs - 1) / 2
    assert sum(pairs / rule.comparisons(at) for at in rule.looks) == pytest.approx(1)


def test_everyone_is_trained_with_the_same_seeds_the_reference_first() -> None:
    race = hold(finals({0: [], 1: [], 2: []}), 4, None)
    assert trained(race) == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]
    assert race.looks == ()


def test_a_look_waits_for_its_last_training() -> None:
    entered = finals({0: [0.0, 0.0], 1: [-9.0, -9.1], 2: [5.0, 5.1]})
    entered.done.remove((1, FRESH + 1))
    assert hold(entered, 4, None).looks == ()
    entered.done.add((1, FRESH + 1))
    assert len(hold(entered, 4, None).looks) == 1


def test_who_is_clearly_worse_drops_out_and_only_the_others_are_trained_on() -> None:
    gains = {0: [0.0, 0.0], 1: [2.0, 2.1], 2: [-20.0, -20.4], 3: [5.0, 5.3], 4: [5.5, 5.1]}
    race = hold(finals(gains, seeds=3), 4, 0.2)
    (look,) = race.looks
    assert look.leader == 4
    assert look.remaining == (1, 3, 4), "the best seed stays in, although it is worse"
    assert look.difference(1, 4).is_worse
    assert set(look.behind) == {0, 2}
    assert look.behind[2].mean == pytest.approx(-25.5)
    assert [design for design, seed in trained(race) if seed == 3] == [0, 1, 3, 4], (
        "the reference goes on: gains are measured against it"
    )
    assert look.to_come == 4 * 2
    dropped = look.record().dropped
    assert {each.design: each.reason for each in dropped} == {0: "worse", 2: "worse"}


def test_it_is_over_when_one_is_left_or_no_child_is() -> None:
    alone = {0: [0.0, 0.1], 1: [-9.0, None], 2: [15.0, 15.1], 3: [1.0, 1.1]}
    won = hold(finals(alone), 8, 0.1)
    assert [look.remaining for look in won.looks] == [(0, 2)]
    assert {design for design, _ in trained(won)} == {0, 2}
    lost = hold(finals({0: [0.0, 0.1], 1: [0.2, 0.1], 2: [-15.0, -15.1]}), 8, 0.1)
    assert [look.remaining for look in lost.looks] == [(0, 1)]
    assert lost.wanted == ()
    assert lost.looks[-1].to_come == 0


def test_equals_go_on_to_the_last_seed() -> None:
    rng = random.Random(1)
    gains = {d: [rng.gauss(0, 1) for _ in range(8)] for d in range(4)}
    race = hold(finals(gains), 8, None)
    assert [look.seeds for look in race.looks] == [2, 4, 8]
    assert race.looks[-1].remaining == (0, 1, 2, 3)
    assert race.wanted == ()


def test_a_failed_training_drops_out_unless_the_reference_failed_too() -> None:
    gains = {0: [0.0, 0.0, 0.0, None], 1: [1.0, 0.9, None, 1.0], 2: [1.2, 1.0, 1.1, 1.3]}
    race = hold(finals(gains), 4, 1.0)
    first, last = race.looks
    assert first.failed == ()
    assert last.failed == (1,)
    assert last.gains[2] == (1.2, 1.0, 1.1), "a seed that the reference failed does not count"
    assert last.remaining == (0, 2)
    assert last.record().to_json()["dropped"] == [{"design": 1, "reason": FAILED}]
    standing = next(each for each in race.standings((0, 1, 2)) if each.design == 1)
    assert (standing.gains, standing.out_after, standing.failed) == ((1.0, 0.9), 4, True)


def test_a_reference_that_failed_every_seed_says_nothing() -> None:
    race = hold(finals({0: [None, None], 1: [None, None], 2: [None, None]}), 2, 1.0)
    (look,) = race.looks
    assert (look.leader, look.remaining, race.wanted) == (None, (0, 1, 2), ())
    assert race.standings((1, 2)) == []
    assert race.difference(2, 1) is None


def test_one_seed_is_judged_by_the_measured_noise_alone() -> None:
    gains = {0: [0.0], 1: [4.0], 2: [4.5]}
    assert hold(finals(gains), 1, None).looks[0].behind == {}
    found = hold(finals(gains), 1, 1.0).difference(2, 0)
    assert found is not None
    z = normal_quantile(comparisons=3)
    assert (found.low, found.high) == (pytest.approx(4.5 - z), pytest.approx(4.5 + z))


def test_of_two_the_interval_is_students_of_their_differences() -> None:
    gains = [3.0, 3.4, 2.5]
    found = hold(finals({0: [0.0] * 3, 1: gains}, seeds=1), 3, None).difference(1, 0)
    assert found is not None
    error = 0.2603 * quantile(2, comparisons=3)  # of the look after 3, which has a third
    assert found.mean == pytest.approx(2.9667, abs=1e-4)
    assert found.high == pytest.approx(2.9667 + error, abs=1e-2)


def test_the_interval_is_never_narrower_than_the_measured_noise() -> None:
    gains = {0: [0.0, 0.0], 1: [3.0, 3.0]}
    found = hold(finals(gains, seeds=1), 2, 1.0).difference(1, 0)
    assert found is not None
    assert found.low == pytest.approx(3 - 2 / 2**0.5)


def test_a_rival_that_dropped_out_is_compared_at_its_last_look() -> None:
    gains = {0: [0.0] * 4, 1: [-30.0, -30.4], 2: [5.0, 5.3, 4.0, 5.2], 3: [5.5, 5.1, 4.6, 5.0]}
    race = hold(finals(gains), 4, 0.2)
    against_seed, other = race.difference(2, 1), race.difference(2, 3)
    assert against_seed is not None
    assert other is not None
    assert (against_seed.seeds, other.seeds) == (2, 4)
    standings = race.standings((0, 1, 2, 3))
    assert [each.design for each in standings] == [3, 2, 0, 1], "who was in for longest, then gain"


def test_the_race_of_a_longer_run_begins_with_what_was_trained() -> None:
    rng = random.Random(2)
    gains = {d: [rng.gauss(0, 1) for _ in range(8)] for d in range(3)}
    short, longer = hold(finals(gains, until=4), 4, None), hold(finals(gains, until=4), 8, None)
    assert short.wanted == ()
    assert [look.seeds for look in longer.looks] == [2, 4]
    assert [seed for design, seed in trained(longer) if design == 2] == list(range(8))


def test_a_reference_that_is_left_alone_is_compared_with_itself() -> None:
    race = hold(finals({0: [0.0, 0.0], 1: [None, None]}, seeds=1), 2, 0.5)
    (look,) = race.looks
    assert look.failed == (1,)
    (alone,) = race.standings(race.entries.designs)
    own = alone.over_reference
    assert (alone.design, own.mean, own.low, own.high) == (0, 0.0, 0.0, 0.0)


def test_the_most_trainings() -> None:
    assert most_trainings(5, 2, 4) == 28
    assert most_trainings(5, 0, 4) == 0
    assert most_trainings(60, 1, 2) == 18, "of many seeds the best enter"


def test_a_state_that_an_earlier_version_saved_is_read() -> None:
    found = finals_in({"finalists": [0, 7, 9]})
    entries, seen = found.entries, found.seen
    assert (entries, seen) == (Entries((0,), (7, 9)), 0)
    assert finals_in({"finalists": []}) == finals_in({}) == FinalsProgress()


# --- how often it is wrong -------------------------------------------------------------------


def simulated(
    rng: random.Random, means: Sequence[float], sigmas: Sequence[float], **kind: int
) -> Race:
    """Return a race of designs with these true gains.

    Each fresh seed moves all designs together, as the order of the data does.
    """
    fresh, seeds, measured = kind["fresh"], kind["seeds"], kind["measured"]
    rows: dict[int, list[float | None]] = {design: [] for design in range(len(means))}
    for _ in range(fresh):
        common = rng.gauss(0, 3)
        drawn = [rng.gauss(mean, sigma) for mean, sigma in zip(means, sigmas, strict=True)]
        for design, value in enumerate(drawn):
            rows[design].append(value + common - (drawn[0] + common))
    noise = noise_of([rng.gauss(0, sigmas[0]) for _ in range(measured)]) if measured else None
    return hold(finals(rows, seeds=seeds), fresh, None if noise is None else noise.pair)


def is_better_than_every_seed(race: Race) -> bool:
    child = race.standings(race.entries.children)[0].design
    found = [race.difference(child, seed) for seed in race.entries.seeds]
    return all(each is not None and each.low is not None and each.low > 0 for each in found)


@pytest.mark.parametrize("measured", [0, 3])
@pytest.mark.parametrize(
    ("sigmas", "seeds"),
    [([1.0] * 2, 1), ([1.0] * 4, 2), ([1.0] * 7, 5), ([1.0, 1.0, 3.0], 2), ([0.3, 1.0, 1.0], 2)],
    ids=["two", "four", "seven", "a noisy child", "a quiet reference"],
)
@pytest.mark.parametrize("fresh", [2, 8])
def test_among_equals_hardly_anybody_drops_out_or_is_called_better(
    sigmas: list[float], seeds: int, fresh: int, measured: int
) -> None:
    """All are equal, so every claim is false: one race in twenty at most may make one."""
    rng, races = random.Random(7), 400
    dropped = claimed = 0
    for _ in range(races):
        kind = {"fresh": fresh, "seeds": seeds, "measured": measured}
        race = simulated(rng, [0.0] * len(sigmas), sigmas, **kind)
        dropped += any(look.behind for look in race.looks)
        claimed += is_better_than_every_seed(race)
    allowed = 0.05 * races + 2.33 * (0.05 * 0.95 * races) ** 0.5  # 99 % of what 5 % gives
    assert dropped <= allowed
    assert claimed <= 0.05 * races


@pytest.mark.parametrize("measured", [0, 3])
def test_a_child_that_equals_the_best_seed_is_seldom_called_better(measured: int) -> None:
    rng, races, claimed = random.Random(11), 400, 0
    for _ in range(races):
        kind = {"fresh": 8, "seeds": 3, "measured": measured}
        race = simulated(rng, [-20.0, 0.0, -10.0, 0.0], [0.7] * 4, **kind)
        claimed += is_better_than_every_seed(race)
    assert claimed <= 0.05 * races


@pytest.mark.parametrize("measured", [0, 3])
def test_a_child_that_is_five_percent_better_is_found_at_a_bounded_cost(measured: int) -> None:
    """Seven designs with eight seeds would take 56 trainings."""
    rng, races, found, trainings = random.Random(3), 100, 0, 0
    for _ in range(races):
        kind = {"fresh": 8, "seeds": 5, "measured": measured}
        means = [-6.0, 0.0, -8.0, -7.0, -10.0, 5.0, 2.0]
        race = simulated(rng, means, [0.7] * 7, **kind)
        found += is_better_than_every_seed(race)
        before = 0
        for look in race.looks:
            trainings += len(look.gains) * (look.seeds - before)
            before = look.seeds
    assert found >= 0.8 * races
    assert trainings <= 38 * races
