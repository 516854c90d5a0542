"""Search strategies that read from the order of designs what they have to remember."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from genesys_engine.engine.select.strategies import (
    AgingOptions,
    AgingSelector,
    LocalOptions,
    LocalSelector,
)
from genesys_engine.plugins.api import Candidates


def pool(fitness: Sequence[float], confidence: Sequence[float] | None = None) -> Candidates:
    """Return candidates in order of their numbers, some of which are missing."""
    same = np.ones(len(fitness))
    rungs = same if confidence is None else np.array(confidence, dtype=float)
    return Candidates(np.arange(len(fitness)) * 2, np.array(fitness), rungs, same, same)


def drawn(seed: int, count: int = 30) -> Candidates:
    rng = random.Random(seed)
    gains = [rng.gauss(0, 2) for _ in range(count)]
    return pool(gains, [rng.choice((1.0, 2.0, 3.0)) for _ in range(count)])


# --- aging -----------------------------------------------------------------------------------


def test_aging_keeps_the_youngest_however_good_the_oldest_is() -> None:
    selector = AgingSelector(AgingOptions())
    assert sorted(selector.survivors(pool([99.0, 1.0, 2.0, 3.0]), 3)) == [1, 2, 3]


@pytest.mark.parametrize("size", [1, 2, 5, 50])
def test_aging_chooses_the_best_of_a_sample(size: int) -> None:
    """With replacement, the best of n is chosen with probability 1 - (1 - 1/n)^S."""
    selector, candidates = AgingSelector(AgingOptions(sample=size)), pool([1.0, 4.0, 2.0, 3.0])
    rng, tries = random.Random(1), 4000
    found = Counter(selector.parents(candidates, 1, rng)[0] for _ in range(tries))
    wanted = 1 - (1 - 1 / 4) ** size
    assert found[1] / tries == pytest.approx(wanted, abs=4 * (wanted / tries) ** 0.5)


# --- local -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fitness", "confidence", "wanted"),
    [
        ([0.0], None, 0),
        ([0.0, 0.4, 0.3], None, 0),  # within the margin
        ([0.0, 0.6, 0.3], None, 1),
        ([0.0, 0.6, 1.0], None, 1),  # 0.4 over the new incumbent
        ([0.0, 0.6, 1.2], None, 2),
        ([0.0, 0.4, 0.3], [1, 1, 2], 2),  # verified at more rungs: any gain counts
        ([0.0, 0.4, -0.1], [1, 1, 2], 0),
        ([0.0, 0.4], [2, 1], 0),
        ([0.0, 0.6], [2, 1], 1),
    ],
)
def test_a_child_replaces_the_incumbent_where_noise_allows_or_it_was_promoted(
    fitness: list[float], confidence: list[float] | None, wanted: int
) -> None:
    selector = LocalSelector(LocalOptions(margin=0.5))
    assert selector.incumbent(pool(fitness, confidence)) == wanted


def test_when_dry_it_restarts_from_the_best_that_was_not_tried() -> None:
    selector = LocalSelector(LocalOptions(margin=0.5, patience=3))
    dry = [5.0, 1.0, 3.0, 2.0]
    assert selector.incumbent(pool(dry[:3])) == 0
    assert selector.incumbent(pool(dry)) == 2
    assert selector.incumbent(pool([*dry, 3.6])) == 4, "better than where it restarted"
    assert selector.incumbent(pool([*dry, 3.1, 3.2, 0.0])) == 5, "dry again: the next best"


def test_of_a_batch_the_best_replaces_the_incumbent() -> None:
    selector = LocalSelector(LocalOptions(margin=0.5, batch=4, patience=5))
    came = [0.0, 1.0, 3.0, 2.0]
    assert selector.incumbent(pool(came)) == 0, "three of four children"
    assert selector.incumbent(pool([*came, 0.0])) == 2
    assert selector.incumbent(pool([*came, 0.0, 9.0, 9.5])) == 2, "a batch of its own"
    assert selector.incumbent(pool([*came, 0.0, 9.0, 9.5, 0.0, 0.0])) == 6
    late = [0.0, 0.1, 0.2, 0.3, 0.4]
    assert selector.incumbent(pool(late)) == 0, "none gained the margin"
    assert selector.incumbent(pool([*late, 0.6])) == 5, "the first after the batch"
    assert selector.incumbent(pool([*late, 0.45])) == 5, "dry: the best that was not tried"


def test_all_children_come_from_the_incumbent() -> None:
    selector = LocalSelector(LocalOptions())
    for seed in range(20):
        candidates = drawn(seed)
        incumbent = selector.incumbent(candidates)
        for count in (1, 2, 3):
            assert selector.parents(candidates, count, random.Random(seed))[0] == incumbent


def test_the_survivors_have_the_same_incumbent_and_the_youngest() -> None:
    selector = LocalSelector(LocalOptions(patience=40))
    for seed in range(50):
        candidates = drawn(seed)
        incumbent = selector.incumbent(candidates)
        kept = sorted(selector.survivors(candidates, 12))
        assert incumbent in kept
        assert {*range(19, 30)} <= {*kept, incumbent}
        after = Candidates(
            *(getattr(candidates, name)[kept] for name in (
                "design", "fitness", "confidence", "parameters", "flops",
            ))
        )  # fmt: skip
        if incumbent <= kept[1]:
            assert kept[selector.incumbent(after)] == incumbent


def test_without_a_parent_nothing_is_chosen() -> None:
    selector = LocalSelector(LocalOptions())
    assert selector.parents(pool([1.0]), 0, random.Random(1)) == []
    assert selector.parents(pool([]), 1, random.Random(1)) == []
    assert selector.survivors(pool([]), 3) == []
