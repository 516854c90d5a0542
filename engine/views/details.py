"""One design: what it is, where it comes from, how it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from genesys_engine.engine.common.records import plain, to_json
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.engine.store.event_types import DesignAccepted
from genesys_engine.engine.store.names import label, scale_names, seed_name
from genesys_engine.engine.store.run_store import DesignRow, Store, VerificationRow
from genesys_engine.engine.views.costs import Cost
from genesys_engine.engine.views.leaderboard import LeaderboardRow, leaderboard_row
from genesys_engine.engine.views.lineage import ancestry, children
from genesys_engine.engine.views.llm import usage, usage_of
from genesys_engine.engine.views.remarks import behind_control, more_compute
from genesys_engine.engine.views.rungs import places
from genesys_engine.gab.compose import compose
from genesys_engine.gab.tree import GABTree
from genesys_engine.plugins.api import LLMUsage


@dataclass(frozen=True)
class DesignDetails:
    """Everything about one design; `ancestors` run from the founder to its first parent.

    `places` are (scale, place, designs ranked) at each rung, best first; `result` is its row of the
    leaderboard, None before its first verification.
    """

    row: DesignRow
    name: str | None
    rung: str | None
    standing: str | None
    result: LeaderboardRow | None
    tree: str
    ancestors: tuple[DesignRow, ...]
    children: tuple[int, ...]
    verifications: tuple[VerificationRow, ...]
    scales: tuple[str, ...]
    report: DesignReport
    reference: str
    disqualified: str  # the reason, "" where it is not
    places: tuple[tuple[str, int, int], ...] = ()
    costs: tuple[Cost, ...] = ()
    remarks: tuple[str, ...] = ()
    llm: Mapping[str, LLMUsage] = field(default_factory=dict)
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What the design is called."""
        return self.name or f"#{self.row.id}"

    def to_json(self) -> dict[str, object]:
        """Return the design as the command line gives it out."""
        row = self.row
        return {
            "design": row.id,
            "name": self.name,
            "accepted": row.accepted,
            "disqualified": self.disqualified,
            "fitness": row.fitness,
            "rung": self.rung,
            "standing": self.standing,
            "places": [
                {"rung": scale, "place": place, "designs": total}
                for scale, place, total in self.places
            ],
            "parents": list(row.parents),
            "operator": row.operator,
            "change": row.change,
            "digest": row.digest,
            "tree": self.tree,
            "lineage": [_step(ancestor) for ancestor in (*self.ancestors, row)],
            "children": list(self.children),
            "costs": [{"rung": cost.rung, **cost.to_json()} for cost in self.costs],
            "remarks": list(self.remarks),
            "verifications": [self._verification(v) for v in self.verifications],
            "findings": self.report.to_json()["findings"],
            "measurements": self.report.to_json()["measurements"],
            "llm": {role: to_json(usage_of(used)) for role, used in self.llm.items()},
            "details": dict(self.details),
        }

    def _verification(self, row: VerificationRow) -> dict[str, object]:
        names = ("replicate", "status", "reason", "fitness", "scores", "controls", "tokens")
        facts = {name: plain(getattr(row, name)) for name in (*names, "facts")}
        return {"verification": row.id, "rung": self.scales[row.rung], **facts}


def design_details(store: Store, design: int) -> DesignDetails:
    """Return one design.

    Raises:
        InputError: the run has no such design.
        TreeError, UnitError: the stored tree cannot be read.
    """
    row = store.design(design)
    scales = scale_names(store)
    verified = row.rung is not None and row.fitness is not None
    result = leaderboard_row(store, design) if verified else None
    reference = str(store.meta("experiment")["population"]["reference"])
    trainings = tuple(store.verifications(design))
    return DesignDetails(
        row=row,
        name=seed_name(row.operator),
        rung=None if row.rung is None else scales[row.rung],
        standing=None if result is None else result.standing,
        result=result,
        tree=GABTree.from_json(store.tree(design)).describe(),
        ancestors=tuple(ancestry(store, design)[:-1]),
        children=tuple(child.id for child in children(store, design)),
        verifications=trainings,
        scales=scales,
        report=store.report(design),
        reference=reference,
        disqualified=store.disqualification(design),
        places=tuple(places(store, design)),
        costs=() if result is None else result.costs,
        remarks=tuple(_remarks(result, reference)),
        llm=usage(store, row.seq),
        details=_operator_details(store, design),
    )


def _remarks(result: LeaderboardRow | None, reference: str) -> Iterator[str]:
    if result is not None:
        yield from behind_control(result.scores, result.controls)
        yield from more_compute(result.cost, reference)


def _operator_details(store: Store, design: int) -> Mapping[str, object]:
    """Return the details that the operator reported with an accepted design."""
    accepted = store.records(DesignAccepted)
    return next((made.details or {} for made in accepted if made.design == design), {})


def composed_source(store: Store, design: int) -> str:
    """Return the module of a design as text; nothing of it is executed."""
    row = store.design(design)
    name = label(design, {design: seed} if (seed := seed_name(row.operator)) else {})
    title = f"Design {name}: {row.change}" if row.change else f"Design {name}"
    return compose(GABTree.from_json(store.tree(design)), title=title)


def _step(row: DesignRow) -> dict[str, object]:
    return {"design": row.id, "operator": row.operator, "change": row.change}
