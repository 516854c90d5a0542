"""What tasks give: the same on every machine, and what enters the state of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from genesys_engine.engine.common import records
from genesys_engine.engine.common.records import from_json, sparse
from genesys_engine.engine.common.text import plural
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.engine.jobs.scores import Controls, Curve, Scores, is_measured, measured
from genesys_engine.engine.jobs.tasks import CONFIRM, DESIGN, VERIFY
from genesys_engine.gab.checks.report import Finding
from genesys_engine.plugins.api import LLMUsage
from genesys_engine.plugins.trainers.live_curve import read_live_curve

# --- designs -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DesignEntry:
    """A design that was made and checked; `tree` is its tree in JSON (`GABTree.to_json`).

    `details` are the operator's own.  `fingerprint` tells the function that it computes, None where
    it did not pass.  `place` is the interface of the place of the parent that was changed, "" where
    it is not one place.
    """

    tree: Mapping[str, JsonValue]
    digest: str
    operator: str
    change: str
    details: Mapping[str, JsonValue]
    report: DesignReport
    fingerprint: str | None = sparse(None)
    place: str = sparse("")


@dataclass(frozen=True)
class Duplicate:
    """A child that was dropped: the run has the design `of` already."""

    of: int
    operator: str
    change: str


@dataclass(frozen=True)
class Abandoned:
    """What an operator gave up, and why; `role` answered last, and `reply` is how it began."""

    operator: str
    code: str
    reason: str
    details: Mapping[str, JsonValue]
    role: str | None = sparse(None)
    reply: str | None = sparse(None)


@dataclass(frozen=True)
class DesignResult:
    """The tries of a design task; `accepted` is the new design, None where it made none.

    `not_applicable` counts the operators that could not work on the parents; `llm` is what each
    role has used.
    """

    accepted: DesignEntry | None = None
    rejected: tuple[DesignEntry, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()
    not_applicable: int = 0
    abandoned: Abandoned | None = None
    llm: Mapping[str, LLMUsage] | None = sparse(None)

    def to_json(self) -> dict[str, object]:
        """Return the result as the store keeps it."""
        return records.to_json(self)


# --- verifications -------------------------------------------------------------------------------


@dataclass(frozen=True)
class VerifyResult:
    """What a verification measured, or why it failed, with what is known of it all the same."""

    status: Literal["ok", "failed"]
    cause: str = ""
    reason: str = ""
    scores: Scores = field(default_factory=dict)
    controls: Controls = field(default_factory=dict)
    curve: Curve = ()
    tokens: int = 0
    steps: int | None = sparse(None)
    parameters: int | None = sparse(None)

    @classmethod
    def failed(cls, cause: str, reason: str, known: VerifyResult | None = None) -> VerifyResult:
        """Return the result of a verification that failed, with what of `known` is usable."""
        if known is None:
            return cls("failed", cause, reason)
        scores, tokens = measured(known.scores), known.tokens
        controls = {name: measured(group) for name, group in known.controls.items()}
        curve = tuple(point for point in known.curve if all(map(is_measured, point)))
        return cls("failed", cause, reason, scores, controls, curve, tokens)

    @property
    def ok(self) -> bool:
        """Whether it has measured the design."""
        return self.status == "ok"

    def passed(self) -> VerifyResult:
        """Return the result of a verification with nothing against it."""
        return replace(self, cause="", reason="")

    def to_json(self) -> dict[str, object]:
        """Return the result as the store keeps it."""
        return records.to_json(self)


def so_far(scratch: Path) -> VerifyResult | None:
    """Return how far a trial came that has no result: its curve and the tokens that it saw."""
    curve = tuple(read_live_curve(scratch))
    return VerifyResult("failed", curve=curve, tokens=int(curve[-1][0])) if curve else None


def scrub(reason: str, scratch: Path) -> str:
    """Return `reason` without what differs from run to run: addresses, folders, times."""
    text = reason.replace(str(scratch), "<scratch>")
    return re.sub(r"0x[0-9a-fA-F]+", "0x...", text)[:2000]


# --- confirmations -------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConfirmResult:
    """What the audit of `design` found.

    `claimed` are the bits per byte that the run knows, `blind` those without what follows, with
    their standard error, `seen` how much less they are where what follows is in the input; None
    where there was nothing to test, or where they are no finite numbers.  `problem` is a sentence,
    "" where all is well.
    """

    design: int
    findings: tuple[Finding, ...]
    problem: str
    claimed: float | None = None
    blind: float | None = None
    stderr: float | None = None
    seen: float | None = None

    def to_json(self) -> dict[str, object]:
        """Return it as the store keeps it, with its line."""
        return {**records.to_json(self), "text": self.text}

    @property
    def text(self) -> str:
        """Describe it in one line."""
        warnings = sum(found.severity == "warning" for found in self.findings)
        noted = f" ({plural(warnings, 'warning')})" if warnings else ""
        result = self.problem or f"passed{noted}"
        if self.blind is not None and not self.problem:
            result += f"; blind test {self.blind:.3f} against {self.claimed:.3f} bits per byte"
        return f"Audit of design {self.design}: {result}."


Result = DesignResult | VerifyResult | ConfirmResult
_KINDS: Mapping[str, type[Result]] = {
    DESIGN: DesignResult,
    VERIFY: VerifyResult,
    CONFIRM: ConfirmResult,
}


def read_result(kind: str, data: object) -> Result:
    """Return the result of a task of this kind; raises `ValueError` where `data` holds none."""
    return from_json(_KINDS[kind], data)
