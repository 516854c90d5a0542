"""Generators: split by purpose and index, independent of hashing and of the global one."""

from __future__ import annotations

import random
import sys

import commands

from genesys_engine.engine.common.randomness import as_global_random, derived_seed, generator


def test_streams_differ_by_every_part() -> None:
    seeds = {derived_seed(s, p, i) for s in (1, 2) for p in ("a", "b") for i in (0, 1)}
    assert len(seeds) == 8
    assert generator(1, "a", 0).random() == generator(1, "a", 0).random()


def test_the_same_in_a_process_with_another_hash_seed() -> None:
    code = (
        "from genesys_engine.engine.common.randomness import derived_seed\n"
        "print(derived_seed(7, 'x', 3))"
    )
    found = {
        commands.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            check=True,
        ).stdout.strip()
        for seed in ("0", "1", "random")
    }
    assert found == {str(derived_seed(7, "x", 3))}


def test_the_global_generator_is_lent_and_given_back() -> None:
    random.seed(1)
    expected = random.Random(1)
    rng = random.Random(5)
    twin = random.Random(5)
    with as_global_random(rng):
        drawn = [random.random() for _ in range(3)]
    assert drawn == [twin.random() for _ in range(3)]
    assert rng.random() == twin.random(), "the lent generator advanced"
    assert random.random() == expected.random(), "the global one did not"
