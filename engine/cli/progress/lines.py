"""One event as one line of text, for a human-readable log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from genesys_engine.engine.common.text import duration, percent, plural, shortened
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.views.finals import look_words
from genesys_engine.engine.views.run import RunView
from genesys_engine.plugins import event_kinds as kinds

Payload = Mapping[str, Any]


def line_of(event: Event, run: RunView) -> str:
    """Return `event` as a sentence; `run` has it applied already and knows the names."""
    words = _WORDS.get(event.kind)
    if words is None:
        details = ", ".join(f"{key} {value}" for key, value in event.payload.items())
        return f"{event.kind} {details}".strip()
    return words(event.payload, run)


def _started(payload: Payload, run: RunView) -> str:
    rungs = ", ".join(f"{rung.planned} at {rung.scale}" for rung in run.rungs)
    children = plural(run.designs_planned, "child", "children")
    return f"started: {children} to design; verifications: {rungs}"


def _extended(payload: Payload, run: RunView) -> str:
    changes = ", ".join(
        f"{c['key']} {c['now']}" + ("" if c["was"] is None else f" instead of {c['was']}")
        for c in payload["changes"]
    )
    return f"extended: {changes}"


def _accepted(payload: Payload, run: RunView) -> str:
    parents = " and ".join(run.label(parent) for parent in payload["parents"])
    origin = f" from {parents}" if parents else ""
    return f"design {run.label(payload['design'])}{origin}: {shortened(payload['change'])}"


def _rejected(payload: Payload, run: RunView) -> str:
    return f"design #{payload['design']} rejected: {', '.join(payload['codes'])}"


def _exhausted(payload: Payload, run: RunView) -> str:
    return f"no new design: {payload['reason']}"


def _abandoned(payload: Payload, run: RunView) -> str:
    role, reply = payload.get("role"), payload.get("reply")
    last = f"; the {role}'s last reply starts with: {reply}" if reply else ""
    task = f"design abandoned (task t{payload['seq']})"
    return f"{task}: {payload['code']}: {shortened(payload['reason']).rstrip('.')}{last}"


_FAULTS = {
    "limited": "is rate-limited",
    "slow": "timed out",
    "down": "is unreachable",
    "strange": "does not speak OpenAI's protocol",
    "failing": "returns errors",
    "lost": "closes the connection before the reply ends",
}


def _unreachable(payload: Payload, run: RunView) -> str:
    fault = _FAULTS.get(payload.get("kind", ""), "does not answer")
    address = f" at {payload['address']}" if payload.get("address") else ""
    next_try = payload.get("next_try_s")
    again = "" if next_try is None else f"; retrying in {duration(next_try)}"
    what = f"the LLM{address} {fault}{again}; designers wait, verifiers continue"
    return f"{what}: {shortened(payload['reason'])}"


def _schema_refused(payload: Payload, run: RunView) -> str:
    return (
        f"the LLM rejects the JSON Schema of the role {payload['role']}: requests continue without"
        f" one, and replies are still validated: {shortened(payload['reason'])}"
    )


def _verified(payload: Payload, run: RunView) -> str:
    fresh = run.finals if is_fresh(payload["replicate"]) else None
    rung = fresh or run.rungs[payload["rung"]]
    stage = f"finals at {rung.scale}" if fresh else rung.scale
    left = run.remaining_s()
    eta = f", about {duration(left)} left" if left else ""
    gain = percent(payload["fitness"])
    label = run.label(payload["design"])
    if payload["replicate"] and not fresh:  # the reference with another seed: not a gain, but noise
        label += " again, to measure the noise:"
    return f"{stage} {rung.done}/{rung.planned}: {label} {gain}{eta}"


def _failed(payload: Payload, run: RunView) -> str:
    scale = run.rungs[payload["rung"]].scale
    label = run.label(payload["design"])
    return f"{scale}: {label} failed: {payload['cause']}: {payload['reason']}"


def _best(payload: Payload, run: RunView) -> str:
    scale, label = run.rungs[payload["rung"]].scale, run.label(payload["design"])
    if label == run.reference:
        return f"best so far: {label} (the reference) at {scale}"
    return f"best so far: {label} with a mean gain of {percent(payload['fitness'])} up to {scale}"


def _disqualified(payload: Payload, run: RunView) -> str:
    return f"design {run.label(payload['design'])} disqualified: {payload['reason']}"


def _finals(payload: Payload, run: RunView) -> str:
    designs = ", ".join(run.label(design) for design in payload["finalists"])
    rivals = ", ".join(run.label(d) for d in payload.get("rivals", [payload["reference"]]))
    seeds = plural(payload["seeds"], "fresh seed")
    return f"finals: {designs} against {rivals}, up to {seeds} each"


def _warning(payload: Payload, run: RunView) -> str:
    return f"budget: {next(reversed(run.budget_use.values()))}"


_WORDS: dict[str, Callable[[Payload, RunView], str]] = {
    kinds.RUN_STARTED: _started,
    kinds.RUN_EXTENDED: _extended,
    kinds.RUN_RESUMED: lambda payload, run: "resumed",
    kinds.RUN_INTERRUPTED: lambda payload, run: "interrupted",
    kinds.RUN_STOPPED: lambda payload, run: f"stopped: {payload['reason']}",
    # The verdict itself is printed once, after the progress.
    kinds.RUN_FINISHED: lambda payload, run: "all budgets are used up, or no work is left",
    kinds.DESIGN_ACCEPTED: _accepted,
    kinds.DESIGN_REJECTED: _rejected,
    kinds.DESIGN_EXHAUSTED: _exhausted,
    kinds.DESIGN_ABANDONED: _abandoned,
    kinds.VERIFICATION_FINISHED: _verified,
    kinds.VERIFICATION_FAILED: _failed,
    kinds.RUNG_OPENED: lambda payload, run: f"rung {payload['scale']} opened",
    kinds.GENERATION_FINISHED: lambda payload, run: f"generation {payload['generation']} finished",
    kinds.BEST_CHANGED: _best,
    kinds.DESIGN_CONFIRMED: lambda payload, run: (
        f"design {run.label(payload['design'])} confirmed by its audit"
    ),
    kinds.DESIGN_DISQUALIFIED: _disqualified,
    kinds.FINALS_OPENED: _finals,
    kinds.FINALS_LOOK: lambda payload, run: f"finals: {look_words(payload, run.label)}",
    kinds.BUDGET_WARNING: _warning,
    kinds.ERROR_HANDLED: lambda payload, run: (
        f"error handled by {payload['by']}: {payload['action']}"
    ),
    kinds.WORKER_LOST: lambda payload, run: f"worker lost: {payload['reason']}",
    kinds.LLM_UNREACHABLE: _unreachable,
    kinds.LLM_SCHEMA_REFUSED: _schema_refused,
    kinds.LLM_REACHABLE: lambda payload, run: "the LLM is reachable again",
}
