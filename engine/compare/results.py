"""The results of a study, as its store keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

from pydantic import JsonValue

from genesys_engine.engine.common.records import sparse
from genesys_engine.engine.llm.spending import total
from genesys_engine.plugins.api import LLMUsage


@dataclass(frozen=True)
class Implemented:
    """The result of an arm on a proposal.

    Args:
        failure: stable code of why it is not valid, "" if it is.
        attempts: rounds, as `operators.llm.proposal.Implementation` counts them.
        usage: of language models, by role.
        lines: of the functions of all units; None without a tree.
        repairs: mechanical repairs of replies, by name, and how often each was made.
        trace: one object per call: role, path, outcome, finding codes.
        tree: `GABTree.to_json`, None where no tree was made.
    """

    valid: bool
    failure: str
    attempts: int
    usage: Mapping[str, LLMUsage]
    lines: int | None = None
    repairs: Mapping[str, int] = field(default_factory=dict)
    trace: tuple[Mapping[str, JsonValue], ...] = ()
    tree: Mapping[str, JsonValue] | None = None

    @cached_property
    def used(self) -> LLMUsage:
        """The usage of all roles together."""
        return total(self.usage)


@dataclass(frozen=True)
class Used:
    """Usage of a run, for everything that a study can cap; None if unknown."""

    llm_tokens: float | None
    llm_usd: float | None
    device_s: float | None
    wall_s: float | None


@dataclass(frozen=True)
class FinishedRun:
    """The result of a run in a study; see `series.series_of` for the numbers.

    `evaluations` is the number of trainings of children up to each point of `best_so_far`, those
    that failed included; () in studies of earlier versions.  `retrained` is what the best child
    gained with the fresh seeds of the finals, None without them.  `cap` is the budget that ended
    the run, "" if none did.
    """

    costs: tuple[int, ...]
    best_so_far: tuple[float, ...]
    generations: tuple[float, ...]
    spent: int
    best: float
    mean: float | None
    made: int
    valid: int
    used: Used
    device: tuple[str, ...]
    cap: str = ""
    evaluations: tuple[int, ...] = sparse(())
    retrained: float | None = sparse(None)


Made = TypeVar("Made", Implemented, FinishedRun)


@dataclass(frozen=True)
class Result(Generic[Made]):
    """The result of an arm on an item; `seconds` is this machine's time and decides nothing."""

    item: str
    arm: str
    made: Made
    seconds: float


AnyResult = Result[Implemented] | Result[FinishedRun]


@dataclass(frozen=True)
class CutShort:
    """An arm that was interrupted during a proposal, by `cap` or for another reason ("").

    `seconds` is the time that it spent on interrupted proposals.
    """

    cap: str = ""
    seconds: float = 0.0
