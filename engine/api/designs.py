"""One design of a run in Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from genesys_engine.engine.jobs.scores import Score
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.costs import Cost
from genesys_engine.engine.views.details import DesignDetails, composed_source
from genesys_engine.gab.checks.report import Finding
from genesys_engine.gab.tree import GABTree


class Design:
    """One design as it stood when it was read: its tree, source, lineage and results."""

    def __init__(self, details: DesignDetails, store: Store) -> None:
        """Keep what is known of a design; nothing of it is run."""
        self.run: Path = store.folder
        """The folder of its run."""
        self.details = details
        """Everything that `genesys-engine show` shows, typed."""
        self.tree: GABTree = GABTree.from_json(store.tree(details.row.id))
        """The genome: a tree of units with their hyper-parameters."""
        self.source: str = composed_source(store, details.row.id)
        """The block as one Python module, composed from the tree."""

    @property
    def id(self) -> int:
        """Its number in the run."""
        return self.details.row.id

    @property
    def name(self) -> str | None:
        """The name of a seed; None for a child."""
        return self.details.name

    @property
    def label(self) -> str:
        """What it is called: `gpt`, `#17`."""
        return self.details.label

    @property
    def accepted(self) -> bool:
        """Whether it passed its check."""
        return self.details.row.accepted

    @property
    def parents(self) -> tuple[int, ...]:
        """The numbers of its parents."""
        return self.details.row.parents

    @property
    def children(self) -> tuple[int, ...]:
        """The numbers of its children."""
        return self.details.children

    @property
    def ancestors(self) -> tuple[int, ...]:
        """The numbers from its founder to its first parent."""
        return tuple(row.id for row in self.details.ancestors)

    @property
    def operator(self) -> str:
        """The operator that made it; `seed:NAME` for a seed."""
        return self.details.row.operator

    @property
    def change(self) -> str:
        """The change that made it, in one sentence."""
        return self.details.row.change

    @property
    def rung(self) -> str | None:
        """The highest scale at which it was verified."""
        return self.details.rung

    @property
    def fitness(self) -> float | None:
        """Mean gain over the reference in percent, over its rungs."""
        return self.details.row.fitness

    @property
    def standing(self) -> str | None:
        """Whether it is better than the reference, given the training noise."""
        return self.details.standing

    @property
    def gains(self) -> Mapping[str, float]:
        """Gain over the reference in percent, by rung."""
        return {} if self.details.result is None else self.details.result.gains

    @property
    def scores(self) -> Mapping[str, Score]:
        """Its scores at the highest rung, by metric."""
        return {} if self.details.result is None else self.details.result.scores

    @property
    def controls(self) -> Mapping[str, Mapping[str, Score]]:
        """The scores of the untrained model and of a bigram model, by metric."""
        return {} if self.details.result is None else self.details.result.controls

    @property
    def costs(self) -> tuple[Cost, ...]:
        """Parameters, FLOPs and seconds at each rung, the lowest first."""
        return self.details.costs

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What its check found."""
        return tuple(self.details.report.findings)

    def __str__(self) -> str:
        """Return a line on it, and its tree."""
        return f"{self!r}\n{self.tree.describe()}"

    def __repr__(self) -> str:
        """Return its label, its change and its standing."""
        stands = "not verified" if self.fitness is None else f"{self.fitness:+.2f} % at {self.rung}"
        stands = stands if self.accepted else "rejected by its check"
        return f"<Design {self.label} of {str(self.run)!r}: {stands}; {self.change}>"

    def _repr_html_(self) -> str:
        from genesys_engine.engine.report.templates import render

        return render("card_design", design=self, tree=self.tree.describe())
