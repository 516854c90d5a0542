"""Finals: the best designs trained again with fresh seeds, before anything is said of them.

Whoever leads after many trainings leads by quality and by luck.  What it gains with seeds that
had no part in choosing it is free of that luck.  The reference is trained with the very same
seeds, so that each gain compares two trainings on equal terms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from genesys_engine.engine.score.significance import (
    SIGMAS,
    mean_half_width,
    normal_quantile,
)
from genesys_engine.engine.store.replicates import FRESH

if TYPE_CHECKING:
    from genesys_engine.engine.score.fitness import Reading


@dataclass
class Finals:
    """What the finals have issued and found; `designs` is empty until they are opened.

    The reference comes first among `designs`.  `issued` holds (design, replicate); `gains` are by
    design and replicate, in percent over the reference with the same seed; `references` are its
    readings by replicate.
    """

    designs: tuple[int, ...] = ()
    issued: set[tuple[int, int]] = field(default_factory=set)
    references: dict[int, Reading] = field(default_factory=dict)
    gains: dict[int, dict[int, float]] = field(default_factory=dict)

    def following(self, seeds: int) -> tuple[int, int] | None:
        """Return the next (design, replicate) of `seeds` per design; None at the end.

        The reference goes first with each seed: the others are measured against it.  What the
        finals of a run that was extended have trained before is not trained again.
        """
        wanted = ((design, FRESH + seed) for seed in range(seeds) for design in self.designs)
        return next((each for each in wanted if each not in self.issued), None)


@dataclass(frozen=True)
class Fresh:
    """The fresh result of one finalist: mean gain in percent, and the interval around it.

    `low` and `high` are None where neither several seeds nor a measured sigma give one.
    """

    design: int
    gains: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None


def fresh_results(finals: Finals, pair: float | None) -> list[Fresh]:
    """Return the finalists' results, best first; one whose trainings all failed is left out.

    `pair` is the noise of the difference of two trainings (`Noise.pair`).
    """
    finalists = [design for design in finals.designs[1:] if finals.gains.get(design)]
    found = []
    for design in finalists:
        by_seed = finals.gains[design]
        gains = tuple(by_seed[replicate] for replicate in sorted(by_seed))
        mean = math.fsum(gains) / len(gains)
        half = half_width(gains, pair, comparisons=len(finalists))
        low, high = (None, None) if half is None else (mean - half, mean + half)
        found.append(Fresh(design, gains, mean, low, high))
    return sorted(found, key=lambda fresh: (-fresh.mean, fresh.design))


def half_width(gains: Sequence[float], pair: float | None, *, comparisons: int) -> float | None:
    """Return half the width of the interval around the mean of paired gains; None: unknown.

    Student's t at 95 %, for all finalists together (Bonferroni), since the best of them is
    looked at.  A few seeds may agree by chance, so it is never narrower than what the noise
    gives that was measured on the reference: z pair / sqrt(n), where z allows for all finalists too
    and is no less than 2.
    """
    n, widths = len(gains), []
    if n > 1:
        widths.append(mean_half_width(gains, comparisons=comparisons))
    if pair is not None:
        z = max(SIGMAS, normal_quantile(comparisons=comparisons))
        widths.append(z * pair / math.sqrt(n))
    return max(widths, default=None)
