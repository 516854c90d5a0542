"""What arms made of the items of a study: the records that its store keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

from pydantic import JsonValue

from genesys_engine.engine.llm.meters import total
from genesys_engine.plugins.api import LLMUsage


@dataclass(frozen=True)
class Implemented:
    """What an arm made of a proposal.

    Args:
        failure: stable code of why it is not valid, "" where it is.
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
        """What all roles used together."""
        return total(self.usage)


@dataclass(frozen=True)
class Used:
    """What a run used of everything that a study can cap; None where nobody knows."""

    llm_tokens: float | None
    llm_usd: float | None
    device_s: float | None
    wall_s: float | None


@dataclass(frozen=True)
class FinishedRun:
    """What a run is reduced to; `series.series_of` says what the numbers are.

    `cap` is the budget that ended it, "" for none.
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


Made = TypeVar("Made", Implemented, FinishedRun)


@dataclass(frozen=True)
class Result(Generic[Made]):
    """What an arm made of an item; `seconds` is this machine's time and decides nothing."""

    item: str
    arm: str
    made: Made
    seconds: float


AnyResult = Result[Implemented] | Result[FinishedRun]


@dataclass(frozen=True)
class CutShort:
    """An arm that was ended in the middle of a proposal: by `cap`, or by anything else ("").

    `seconds` are those that it used on proposals that were not recorded then.
    """

    cap: str = ""
    seconds: float = 0.0
