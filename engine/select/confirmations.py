"""Which designs have to be confirmed before they are named, and what came of it.

A score that no design has reached before is a discovery or a leak.  Whoever sets a record at a
rung, or would lead the run, is therefore *in question* until the audit (see `confirmation`)
has borne its score out: it is no parent, does not climb, and is neither the best design nor on the
leaderboard.  A design that fails is disqualified for good, and what descends from it is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OpenConfirmations:
    """The designs in question that wait for their audit, and those of them that are newcomers."""

    waiting: tuple[int, ...] = ()
    newcomers: tuple[int, ...] = ()


@dataclass
class Confirmations:
    """The designs in question, in the order in which they are looked at, and those settled.

    `newcomers` are those in question that were never in the population; `passed` holds the highest
    rung at which a design was confirmed; `suspects` descend from a disqualified design and are
    looked at whatever they score.
    """

    waiting: list[int] = field(default_factory=list)
    under_way: set[int] = field(default_factory=set)
    newcomers: set[int] = field(default_factory=set)
    passed: dict[int, int] = field(default_factory=dict)
    disqualified: set[int] = field(default_factory=set)
    suspects: set[int] = field(default_factory=set)

    def open(self, design: int) -> bool:
        """Tell whether a design is in question."""
        return design in self.under_way or design in self.waiting

    @property
    def any_open(self) -> bool:
        """Whether any design is in question."""
        return bool(self.waiting or self.under_way)

    def has_passed(self, design: int, rung: int) -> bool:
        """Tell whether a design was confirmed at `rung` or above it."""
        return self.passed.get(design, -1) >= rung

    def begin(self, design: int) -> None:
        """Note that the audit of a design is running."""
        if design in self.waiting:
            self.waiting.remove(design)
        self.under_way.add(design)

    def inherit(self, design: int, parents: Iterable[int]) -> None:
        """Suspect a design whose parents are disqualified, or suspects themselves."""
        if any(parent in self.disqualified or parent in self.suspects for parent in parents):
            self.suspects.add(design)

    def snapshot(self) -> OpenConfirmations:
        """Return what the tables do not hold."""
        return OpenConfirmations(tuple(self.waiting), tuple(sorted(self.newcomers)))

    def restore(self, snapshot: OpenConfirmations) -> None:
        """Take over a snapshot."""
        self.waiting = list(snapshot.waiting)
        self.newcomers = set(snapshot.newcomers)
