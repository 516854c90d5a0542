"""How far a run is: counts, budgets, the best so far, the time left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from genesys_engine.engine.common.budget import Spending
from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.store.event_types import RunFinished
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.finals import FinalsView, finals_view
from genesys_engine.engine.views.llm import LLMView, Usage, llm_view, usage_by_task, usage_of
from genesys_engine.engine.views.reading import once
from genesys_engine.engine.views.run import KILLED, RUNNING, WAITING, Running, RunView, view
from genesys_engine.engine.views.timing import elapsed_s
from genesys_engine.engine.views.verdict import verdict_view
from genesys_engine.plugins.api import LLMUsage


@dataclass(frozen=True)
class DesignCounts:
    """The designs of a run by outcome."""

    planned: int
    accepted: int
    seeds: int
    children: int
    rejected: int
    duplicates: int
    exhausted: int
    abandoned: int
    disqualified: int


@dataclass(frozen=True)
class RungCounts:
    """The verifications at a rung by outcome."""

    scale: str
    planned: int
    finished: int
    failed: int
    under_way: int


@dataclass(frozen=True)
class Best:
    """The design that leads; `name` is None where it is no seed."""

    design: int
    name: str | None
    rung: str
    fitness: float


@dataclass(frozen=True)
class Making:
    """A design that is being made: for how long, and what was asked of language models."""

    seq: int
    seconds: float
    llm: Usage


@dataclass(frozen=True)
class Training:
    """A running trial: how far it is, and its loss (nats per token) by its curve.

    Both are None where it has reported nothing yet, as one that is `waiting` for a worker.
    `node` is where it runs ("": on this machine, or nowhere yet), and `node_s` for how many seconds
    so far.  `verification` is its number in the curves.
    """

    seq: int
    design: int | None
    name: str
    rung: str
    seconds: float
    tokens: int | None
    of: int
    loss: float | None
    node: str
    node_s: float | None
    waiting: bool = False
    verification: int | None = None


@dataclass(frozen=True)
class Auditing:
    """A design that is being audited, and for how long."""

    seq: int
    design: int | None
    name: str
    seconds: float


@dataclass(frozen=True)
class Status:
    """The state of a run; None where there is nothing yet."""

    name: str
    state: str
    reason: str
    seed: int | None
    mode: str
    selection: str
    designs: DesignCounts
    rungs: tuple[RungCounts, ...]
    generation: int | None
    finals: FinalsView | None
    budgets: tuple[Spending, ...]
    best: Best | None
    verdict: RunFinished | None
    under_way: int
    making: tuple[Making, ...]
    training: tuple[Training, ...]
    auditing: tuple[Auditing, ...]
    workers: int
    elapsed_s: float
    remaining_s: float | None
    llm: LLMView
    llm_unreachable: str
    warnings: tuple[str, ...]
    workers_lost: int
    nodes: Mapping[str, int]
    resumed: int

    def to_json(self) -> dict[str, object]:
        """Return it as the command line gives it out."""
        return to_json(self)


def status(store: Store, *, now: float | None = None) -> Status:
    """Return the state of a run.

    Args:
        now: epoch seconds, for the age of an active run; None takes the last event's time.
    """
    run, verdict = run_state(store), verdict_view(store)
    return Status(
        name=run.name,
        state=run.state,
        reason=run.stop_reason,
        seed=run.seed,
        mode=run.mode,
        selection=run.selection,
        designs=_designs(run),
        rungs=tuple(_rung(run, index) for index in range(len(run.rungs))),
        generation=run.generation,
        finals=finals_view(store),
        budgets=tuple(budgets(store, run)),
        best=_best(run),
        verdict=None if verdict.child is None else verdict.record,
        under_way=len(run.running),
        making=tuple(_making(store, run, now)),
        training=tuple(_training(store, run, now)),
        auditing=tuple(
            Auditing(task.seq, task.design, run.label(task.design), _age(task, run, now))
            for task in run.auditing.values()
        ),
        workers=run.workers,
        elapsed_s=elapsed_s(store, run, now),
        remaining_s=run.remaining_s(),
        llm=llm_view(store),
        llm_unreachable=run.llm_out,
        warnings=tuple(run.warnings),
        workers_lost=run.workers_lost,
        nodes=dict(run.nodes),
        resumed=run.resumed,
    )


def run_state(store: Store) -> RunView:
    """Return the run as its log tells it; killed, if it has no end and no process works on it."""
    alive = store.being_written()  # before the log is read: a run may end meanwhile
    run = once(store, view)
    killed = not alive and run.state in (RUNNING, WAITING)
    return replace(run, state=KILLED) if killed else run


def budgets(store: Store, run: RunView) -> list[Spending]:
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
    return rows


def _designs(run: RunView) -> DesignCounts:
    return DesignCounts(
        planned=run.designs_planned,
        accepted=run.accepted,
        seeds=len(run.names),
        children=run.accepted - len(run.names),
        rejected=run.rejected,
        duplicates=run.duplicates,
        exhausted=run.exhausted,
        abandoned=run.abandoned,
        disqualified=len(run.disqualified),
    )


def _rung(run: RunView, index: int) -> RungCounts:
    rung = run.rungs[index]
    under_way = sum(task.rung == index for task in run.running.values())
    return RungCounts(rung.scale, rung.planned, rung.finished, rung.failed, under_way)


def _making(store: Store, run: RunView, now: float | None) -> list[Making]:
    making = [task for task in run.running.values() if task.design is None]
    used = usage_by_task(store) if making else {}
    return [
        Making(task.seq, _age(task, run, now), usage_of(used.get(task.seq, LLMUsage())))
        for task in making
    ]


def _training(store: Store, run: RunView, now: float | None) -> list[Training]:
    training = sorted(
        (task for task in run.running.values() if task.design is not None),
        key=lambda task: task.seq,
    )
    rows, at_work = [], {task.seq for task in run.under_way()[0]}
    for number, task in enumerate(training, run.verifications):  # numbered in the order of issue
        rung, curve = run.rungs[task.rung or 0], store.curves.read(number)
        tokens, loss = curve[-1] if curve else (None, None)
        row = Training(
            seq=task.seq,
            design=task.design,
            name=run.label(task.design),
            rung=rung.scale,
            seconds=_age(task, run, now),
            tokens=None if tokens is None else int(tokens),
            of=rung.tokens,
            loss=loss,
            node=task.node,
            node_s=None if task.placed_at is None else _since(task.placed_at, run, now),
            waiting=task.seq not in at_work,
            verification=number,
        )
        rows.append(row)
    return rows


def _age(task: Running, run: RunView, now: float | None) -> float:
    """Return for how many seconds a task has been running."""
    return _since(task.since, run, now)


def _since(moment: float, run: RunView, now: float | None) -> float:
    """Return the seconds since a moment of the log."""
    now = run.last_at if now is None else now
    return max(0.0, (now or moment) - moment)


def _best(run: RunView) -> Best | None:
    if run.best is None:
        return None
    design, rung = run.best.design, run.best.rung
    return Best(design, run.names.get(design), run.rungs[rung].scale, run.best.fitness)
