"""Adaptive operator selection: what has gained is drawn more, what fails is drawn less.

Every child is a trial of the operator that made it, and of the kind of place that was changed.  Its
reward follows from its rank among the last trials (Fialho et al. 2010, "Toward comparison-based
adaptive operator selection"): gains differ by orders of magnitude between the beginning and the end
of a search, ranks do not.  A child that its check rejects, whose training fails or that an audit
disqualifies has reward 0.  Operators are then drawn in proportion to their rewards (probability
matching, Goldberg 1990), shrunk to the mean of all while there are few trials.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from genesys_engine.engine.jobs.tasks import OperatorWeights

WINDOW = 256
"""The newest trials, which count: a search moves on, and its decisions must not become slower."""
PRIOR = 4
"""Trials with the mean reward that each operator has in advance."""
SHARPNESS = 2.0
"""Power of an operator's reward over the mean one: above 1, since only the best children count."""
LIMIT = 8.0
"""No operator is drawn more than so many times as often as configured, or as rarely."""


@dataclass(slots=True)
class _Trial:
    """A child: what made it, and what it gained over its parent, in percent, once that is known."""

    operator: str
    place: str
    parents: tuple[int, ...]
    gained: float | None = None
    failed: bool = False


@dataclass
class Credit:
    """The trials of a run; equal whether its results were added one by one or on resume."""

    _trials: dict[int, _Trial] = field(default_factory=dict)
    _first: dict[int, float] = field(default_factory=dict)
    """Gain at the lowest rung, of every design that has one."""

    def made(
        self, design: int, operator: str, place: str, parents: tuple[int, ...], *, failed: bool
    ) -> None:
        """Note a child; `failed`: its check rejected it."""
        self._trials[design] = _Trial(operator, place, parents, failed=failed)

    def measured(self, design: int, gain: float | None) -> None:
        """Note the gain of a design over the reference at the lowest rung, None if it failed."""
        if gain is not None:
            self._first[design] = gain
        if (trial := self._trials.get(design)) is None:
            return
        before = [self._first[parent] for parent in trial.parents if parent in self._first]
        trial.failed = trial.failed or gain is None
        trial.gained = None if gain is None else gain - max(before, default=0.0)

    def disqualified(self, design: int) -> None:
        """Note that what a design gained was a leak."""
        if (trial := self._trials.get(design)) is not None:
            trial.failed = True

    def weights(self) -> OperatorWeights:
        """Return how much more often than configured to draw operators and places."""
        newest = islice(reversed(self._trials.values()), WINDOW)
        ended = [trial for trial in newest if trial.failed or trial.gained is not None]
        rewards = _rewards(ended)
        return OperatorWeights(
            _factors((trial.operator for trial in ended), rewards),
            _factors((trial.place for trial in ended), rewards),
        )


def _rewards(trials: Sequence[_Trial]) -> list[float]:
    """Return the reward of each trial: the square of its rank, from 0 to 1."""
    gained = sorted(t.gained for t in trials if t.gained is not None and not t.failed)
    failed = len(trials) - len(gained)

    def rank(trial: _Trial) -> float:
        if trial.failed or trial.gained is None:
            return 0.0
        below = bisect_left(gained, trial.gained) + bisect_right(gained, trial.gained)
        return (failed + below / 2) / len(trials)

    return [rank(trial) ** 2 for trial in trials]


def _factors(names: Iterable[str], rewards: Sequence[float]) -> dict[str, float]:
    """Return the factor of each name, "" left out, by the mean reward of its trials."""
    by_name: dict[str, list[float]] = defaultdict(list)
    for name, reward in zip(names, rewards, strict=True):
        by_name[name].append(reward)
    known = {name: found for name, found in sorted(by_name.items()) if name}
    count = sum(map(len, known.values()))
    mean = sum(map(sum, known.values())) / count if count else 0.0
    if not mean:
        return {}
    return {
        name: round(_factor((PRIOR * mean + sum(found)) / (PRIOR + len(found)) / mean), 4)
        for name, found in known.items()
    }


def _factor(reward: float) -> float:
    """Return the factor of a reward, given as a multiple of the mean one."""
    return min(LIMIT, max(1 / LIMIT, float(reward**SHARPNESS)))
