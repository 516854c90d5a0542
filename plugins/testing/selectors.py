"""What a selector promises."""

from __future__ import annotations

import random
from collections.abc import Iterable

from genesys_engine.plugins.api import Candidates
from genesys_engine.plugins.targets import load_target, read_options
from genesys_engine.plugins.testing.contract import Contract


class SelectorContract(Contract):
    """Positions of candidates: in range, distinct, equal for an equal generator."""

    kind = "selector"

    def candidates(self, count: int) -> Candidates:
        """Return candidates with ties in everything but their number."""
        import numpy as np

        rng = np.random.default_rng(count)
        return Candidates(
            design=np.arange(count, dtype=np.int64) * 3,
            fitness=rng.integers(-4, 4, count).astype(np.float64),
            confidence=rng.integers(1, 3, count).astype(np.float64),
            parameters=2e5 + rng.integers(0, 4, count) * 1e4,
            flops=1e6 + rng.integers(0, 4, count) * 1e5,
            metrics={name: rng.normal(size=count) for name in self._metrics()},
        )

    def _metrics(self) -> Iterable[str]:
        """Return the scores whose gains the selector asks for."""
        ask = getattr(load_target(self.description().target), "metrics", None)
        return () if ask is None else ask(read_options(self._model(), self.options))

    def test_parents_are_distinct_and_in_range(self) -> None:
        """As many as were asked for, or all if there are fewer."""
        selector = self.create()
        for size in (1, 2, 7, 30):
            for count in (1, 2, 5):
                chosen = selector.parents(self.candidates(size), count, random.Random(size))
                assert len(chosen) == min(count, size)
                assert len(set(chosen)) == len(chosen)
                assert all(0 <= position < size for position in chosen)

    def test_one_is_promoted(self) -> None:
        """The position of a candidate, also where there is only one."""
        selector = self.create()
        for size in (1, 2, 7, 30):
            assert 0 <= selector.promote(self.candidates(size), random.Random(3)) < size

    def test_survivors_are_distinct_and_in_range(self) -> None:
        """As many as were asked for, or all if there are fewer."""
        selector = self.create()
        for size, count in ((1, 1), (7, 3), (30, 24), (5, 9)):
            kept = list(selector.survivors(self.candidates(size), count))
            assert len(set(kept)) == len(kept) == min(count, size)
            assert all(0 <= position < size for position in kept)

    def test_equal_generators_give_equal_choices(self) -> None:
        """All chance comes from the generator that is given."""

        def choices() -> list[object]:
            selector, rng, pool = self.create(), random.Random(5), self.candidates(20)
            drawn = [list(selector.parents(pool, 2, rng)) for _ in range(20)]
            return [*drawn, *(selector.promote(pool, rng) for _ in range(20))]

        state = random.getstate()
        assert choices() == choices()
        assert random.getstate() == state, "it draws from the global generator"

    def test_candidates_are_not_changed(self) -> None:
        """The arrays belong to the engine."""
        pool, again = self.candidates(20), self.candidates(20)
        selector = self.create()
        selector.parents(pool, 2, random.Random(1))
        selector.promote(pool, random.Random(1))
        selector.survivors(pool, 5)
        for name in ("design", "fitness", "confidence", "parameters", "flops"):
            assert (getattr(pool, name) == getattr(again, name)).all()
