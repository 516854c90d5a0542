"""What language models were used for, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.common.text import count, plural
from genesys_engine.engine.llm.ledger import Call, Ledger
from genesys_engine.engine.llm.spending import total
from genesys_engine.engine.store.event_types import DesignAbandoned
from genesys_engine.engine.store.run_store import Store
from genesys_engine.plugins.api import ROLES, LLMUsage

UNKNOWN = "unknown"


@dataclass(frozen=True)
class LLMView:
    """Usage by role, which model each role has, and the designs abandoned, by cause.

    What was paid for is counted once, however often the record answered it since.
    """

    roles: Mapping[str, LLMUsage]
    models: Mapping[str, str]
    abandoned: Mapping[str, int]

    @property
    def total(self) -> LLMUsage:
        """All roles together."""
        return total(self.roles)

    def to_json(self) -> dict[str, object]:
        """Return the usage as the command line gives it out; an unknown price is null."""
        rows = {role: to_json(usage_of(usage)) for role, usage in self.roles.items()}
        return {
            "roles": rows,
            "total": to_json(usage_of(self.total)),
            "models": dict(self.models),
            "abandoned": dict(self.abandoned),
        }


def llm_view(store: Store) -> LLMView:
    """Return what a run used of language models so far."""
    causes = Counter(given_up.code for given_up in store.records(DesignAbandoned))
    models = (store.meta("llm") or {}).get("models", {})
    return LLMView(usage(store), models, dict(causes.most_common()))


def usage(store: Store, task: int | None = None) -> dict[str, LLMUsage]:
    """Return what one task, or the whole run, was the first to ask, in the order of the roles."""
    ledger = Ledger(store.path, write=False)
    try:
        found = ledger.usage(None if task is None else str(task))
    finally:
        ledger.close()
    return {role: found[role] for role in ROLES if role in found}


def exchange(store: Store, task: int | None = None) -> list[Call]:
    """Return the calls of one design task, or of the whole run, in order."""
    ledger = Ledger(store.path, write=False)
    try:
        return list(ledger.calls(None if task is None else str(task)))
    finally:
        ledger.close()


@dataclass(frozen=True)
class Asker:
    """A design task that asked language models: its design, or why it was abandoned."""

    seq: int
    outcome: str
    usage: LLMUsage


def askers(store: Store) -> list[Asker]:
    """Return the design tasks that were the first to ask something, in order."""
    outcomes = {
        given_up.seq: f"abandoned: {given_up.code}" for given_up in store.records(DesignAbandoned)
    }
    for design in store.designs():
        outcomes[design.seq] = f"design {design.id}" + ("" if design.accepted else ", rejected")
    used = sorted(usage_by_task(store).items())
    return [Asker(seq, outcomes.get(seq, "no design"), usage) for seq, usage in used]


def usage_by_task(store: Store) -> dict[int, LLMUsage]:
    """Return what each design task was the first to ask, by the task's number."""
    ledger = Ledger(store.path, write=False)
    try:
        return {int(task): used for task, used in ledger.usage_by_task().items()}
    finally:
        ledger.close()


@dataclass(frozen=True)
class Usage:
    """Usage as the command line gives it out; an unknown price is None."""

    calls: int
    input_tokens: int
    output_tokens: int
    tokens: int
    usd: float | None


def usage_of(used: LLMUsage) -> Usage:
    """Return usage with the sum of its tokens."""
    return Usage(used.calls, used.input_tokens, used.output_tokens, used.tokens, used.usd)


def usd(value: float | None) -> str:
    """Return a price as people read it."""
    if value is None:
        return UNKNOWN
    return f"{value:.2f} USD" if value >= 1 or value == 0 else f"{value:.4f} USD"


def usage_text(used: LLMUsage | Usage) -> str:
    """Return usage in a line."""
    return f"{plural(used.calls, 'call')}, {count(used.tokens)} tokens, {usd(used.usd)}"
