"""How far a run is: counts, budgets, the best so far, the time left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from genesys_engine.engine.common.budget import Spending
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.finals import finals_view
from genesys_engine.engine.views.llm import llm_view, usage_by_task, usage_json
from genesys_engine.engine.views.run import KILLED, RUNNING, WAITING, Running, RunView, view
from genesys_engine.engine.views.timing import elapsed_s
from genesys_engine.engine.views.verdict import verdict_view
from genesys_engine.plugins.api import LLMUsage


def status(store: Store, *, now: float | None = None) -> dict[str, Any]:
    """Return the state of a run as plain data.

    Args:
        now: epoch seconds, for the age of an active run; None takes the last event's time.
    """
    run = run_state(store)
    return {
        "name": run.name,
        "state": run.state,
        "reason": run.stop_reason,
        "seed": run.seed,
        "mode": run.mode,
        "selection": run.selection,
        "designs": _designs(run),
        "rungs": [_rung(run, index) for index in range(len(run.rungs))],
        "generation": run.generation,
        "finals": _finals(store),
        "budgets": budgets(store, run),
        "best": _best(run),
        "verdict": _verdict(store),
        "under_way": len(run.running),
        "making": _making(store, run, now),
        "training": _training(store, run, now),
        "elapsed_s": elapsed_s(store, run, now),
        "remaining_s": run.remaining_s(),
        "llm": llm_view(store).to_json(),
        "llm_unreachable": run.llm_out,
        "warnings": list(run.warnings),
        "workers_lost": run.workers_lost,
        "resumed": run.resumed,
    }


def run_state(store: Store) -> RunView:
    """Return the run as its log tells it; killed, if it has no end and no process works on it."""
    alive = store.being_written()  # before the log is read: a run may end meanwhile
    run = view(store)
    if not alive and run.state in (RUNNING, WAITING):
        run.state = KILLED
    return run


def budgets(store: Store, run: RunView) -> list[dict[str, Any]]:
    """Return what each budget has used of its cap; used None is unknown, a cap of None is none."""
    caps = store.meta("experiment")["budget"]
    children = run.accepted - len(run.names)
    hours = float(store.meta("wall_s", 0.0)) / 3600
    rows = [
        Spending("designs", children, caps.get("designs")),
        *(Spending(f"verifications at {r.scale}", r.done, r.planned) for r in run.rungs),
        *(Spending("trainings of the finals", f.done, f.planned) for f in [run.finals] if f),
        Spending("wall hours", hours, caps.get("wall_hours")),
    ]
    if (most := caps.get("device_hours")) is not None:
        rows.append(Spending("device hours", float(store.meta("device_s", 0.0)) / 3600, most))
    used = llm_view(store).total
    for name, amount in (("llm_tokens", used.tokens), ("llm_usd", used.usd)):
        if (cap := caps.get(name)) is not None:
            rows.append(Spending(name.replace("_", " "), amount, cap))
    return [asdict(each) for each in rows]


def _finals(store: Store) -> dict[str, Any] | None:
    """Return the race of the finals; None before they open."""
    found = finals_view(store)
    return None if found is None else found.to_json()


def _verdict(store: Store) -> Mapping[str, object] | None:
    """Return what may be reported so far; None before any child is verified."""
    found = verdict_view(store)
    return None if found.child is None else found.record.to_json()


def _designs(run: RunView) -> dict[str, int]:
    return {
        "planned": run.designs_planned,
        "accepted": run.accepted,
        "seeds": len(run.names),
        "children": run.accepted - len(run.names),
        "rejected": run.rejected,
        "duplicates": run.duplicates,
        "exhausted": run.exhausted,
        "abandoned": run.abandoned,
        "disqualified": len(run.disqualified),
    }


def _rung(run: RunView, index: int) -> dict[str, Any]:
    rung = run.rungs[index]
    under_way = sum(task.rung == index for task in run.running.values())
    return {
        "scale": rung.scale,
        "planned": rung.planned,
        "finished": rung.finished,
        "failed": rung.failed,
        "under_way": under_way,
    }


def _making(store: Store, run: RunView, now: float | None) -> list[dict[str, Any]]:
    """Return the running designs: for how long, and what they have asked language models."""
    making = [task for task in run.running.values() if task.design is None]
    used = usage_by_task(store) if making else {}
    return [
        {
            "seq": task.seq,
            "seconds": _age(task, run, now),
            "llm": usage_json(used.get(task.seq, LLMUsage())),
        }
        for task in making
    ]


def _training(store: Store, run: RunView, now: float | None) -> list[dict[str, Any]]:
    """Return the running trials: how far each is, and its loss (nats per token) by its curve.

    Both are None where it has reported nothing yet, as one that waits for a worker.
    """
    training = sorted(
        (task for task in run.running.values() if task.design is not None),
        key=lambda task: task.seq,
    )
    rows = []
    for number, task in enumerate(training, run.verifications):  # numbered in the order of issue
        rung, curve = run.rungs[task.rung or 0], store.curves.read(number)
        tokens, loss = curve[-1] if curve else (None, None)
        row = {
            "seq": task.seq,
            "design": task.design,
            "name": run.label(task.design),
            "rung": rung.scale,
            "seconds": _age(task, run, now),
            "tokens": None if tokens is None else int(tokens),
            "of": rung.tokens,
            "loss": loss,
        }
        rows.append(row)
    return rows


def _age(task: Running, run: RunView, now: float | None) -> float:
    """Return for how many seconds a task has been running."""
    now = run.last_at if now is None else now
    return max(0.0, (now or task.since) - task.since)


def _best(run: RunView) -> dict[str, Any] | None:
    if run.best is None:
        return None
    design, rung = run.best.design, run.best.rung
    return {
        "design": design,
        "name": run.names.get(design),
        "rung": run.rungs[rung].scale,
        "fitness": run.best.fitness,
    }
