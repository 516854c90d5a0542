"""The records passed between the stages of an LLM-driven operator: proposals and outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from genesys_engine.gab.tree import GABTree
from genesys_engine.plugins.api import OperatorContext, Parent


@dataclass(frozen=True)
class UnitChange:
    """One unit that a proposal changes: its path in the first parent's tree, and the change."""

    path: str
    change: str


@dataclass(frozen=True)
class Proposal:
    """An idea for a design: which units to change, how, why, and the expected effect.

    `changes` stand in the order of the tree (prefix order); all paths are those of the first
    parent, the root's for a design from scratch.
    """

    title: str
    motivation: str
    changes: tuple[UnitChange, ...]
    expected_effect: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the proposal as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Proposal:
        """Read what `to_json` wrote."""
        changes = tuple(UnitChange(**entry) for entry in data["changes"])
        return cls(**{**data, "changes": changes})


@dataclass(frozen=True)
class Implementation:
    """The outcome of implementing a proposal.

    `tree` passed the check and is faithful: every unit named in the proposal differs from the
    parent's, in its syntax tree and in function.  Without a tree, `failure` is the stable code of
    the last fault.  `attempts` counts rounds as the paper's Table 3 does; `trace` holds one JSON
    object per call: role, path, outcome, finding codes.
    """

    tree: GABTree | None
    failure: str
    attempts: int
    trace: tuple[Mapping[str, Any], ...] = ()


class Implementer(Protocol):
    """Turns a proposal into a design: `gp` unit by unit, each baseline in its own way."""

    def implement(
        self,
        proposal: Proposal,
        parents: Sequence[Parent],
        context: OperatorContext,
        *,
        token_cap: int | None = None,
    ) -> Implementation:
        """Return the outcome of `proposal`, using the models of `context.llm`.

        No try starts after `token_cap` tokens have been used (whole-budget baselines); a running
        one is finished.
        """
