"""The pool of a rung shows a selector what the standings of its designs would."""

from __future__ import annotations

import random
from dataclasses import fields

import numpy as np

from genesys_engine.engine.select.pool import Pool, candidates_of
from genesys_engine.engine.select.standing import Standing
from genesys_engine.plugins.api import Candidates


def standing(design: int, gain: float) -> Standing:
    made = Standing(design, False, 2e5 + design, 1e6 - design)
    made.record(0, gain, {"acc": gain / 2})
    return made


def same(one: Candidates, other: Candidates) -> bool:
    arrays = [f.name for f in fields(Candidates) if f.name != "metrics"]
    return (
        all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
        and one.design.dtype == other.design.dtype == np.int64
        and one.metrics.keys() == other.metrics.keys()
        and all(np.array_equal(one.metrics[name], other.metrics[name]) for name in one.metrics)
    )


def test_a_pool_shows_its_designs_whatever_came_and_went() -> None:
    rng, pool, inside = random.Random(3), Pool(), dict[int, Standing]()
    assert not pool
    assert len(pool.candidates()) == 0
    for step in range(600):
        design = rng.randrange(300)  # beyond the room that a pool has at first
        if rng.random() < 0.4:
            pool.discard(design)
            inside.pop(design, None)
        else:
            inside[design] = standing(design, float(step))
            pool.add(inside[design])
        assert bool(pool) is bool(inside)
    assert [design for design in range(900) if design in pool] == sorted(inside)
    assert same(pool.candidates(), candidates_of([inside[d] for d in sorted(inside)]))


def test_pools_are_equal_by_what_waits_in_them() -> None:
    one, other = Pool(), Pool()
    for design in (200, 3):
        one.add(standing(design, 1.0))
    for design in (3, 200, 7):
        other.add(standing(design, 1.0))
    assert one != other
    other.discard(7)
    assert one == other
    other.add(standing(3, 2.0))
    assert one != other
