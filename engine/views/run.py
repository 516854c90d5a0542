"""The run as its events tell it: a fold over the log, live or read back.

`RunView.apply` takes one event in a few microseconds, so that the live display costs the run
nothing; `view(store)` folds a whole log.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from functools import singledispatch

from genesys_engine.engine.common.text import amount
from genesys_engine.engine.llm.spending import add
from genesys_engine.engine.store import event_types as events
from genesys_engine.engine.store import node_events as nodes
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.names import label, seed_name
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import Store
from genesys_engine.plugins import event_kinds as kinds
from genesys_engine.plugins.api import LLMUsage

RECENT_CHANGES = 5
NOMINAL_VOCABULARY = 4096  # the log does not tell it; only ratios between rungs count

WAITING, RUNNING, FINISHED = "waiting", "running", "finished"
INTERRUPTED, STOPPED = "interrupted", "stopped"
KILLED = "killed"  # its log has no end, and nobody works on it


_Ended = events.VerificationFinished | events.VerificationFailed


@dataclass
class RungView:
    """One rung of the ladder: what it may take and what it has taken."""

    scale: str
    planned: int
    tokens: int
    finished: int = 0
    failed: int = 0
    timed: int = 0
    seconds: float = 0.0  # that a worker was kept, summed over the `timed` ones
    opened: bool = False

    @property
    def done(self) -> int:
        """Verifications with a result, good or bad."""
        return self.finished + self.failed


@dataclass(frozen=True)
class Running:
    """A running task; `design` is None while a new design is being made."""

    seq: int
    design: int | None
    rung: int | None
    since: float
    seed: str | None = None
    node: str = ""  # "": on this machine, or waiting
    placed_at: float | None = None


@dataclass
class RunView:
    """What is known of a run after the events applied so far.  Times are epoch seconds."""

    name: str = ""
    seed: int | None = None
    mode: str = ""
    selection: str = ""
    reference: str = ""
    state: str = WAITING
    rungs: list[RungView] = field(default_factory=list)
    finals: RungView | None = None
    designs_planned: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    exhausted: int = 0
    abandoned: int = 0
    llm: dict[str, LLMUsage] = field(default_factory=dict)
    llm_out: str = ""
    """Why no language model answers; "" while all is well."""
    generation: int | None = None
    running: dict[int, Running] = field(default_factory=dict)
    auditing: dict[int, Running] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    causes: Counter[str] = field(default_factory=Counter)
    changes: deque[tuple[int, tuple[int, ...], str]] = field(
        default_factory=lambda: deque(maxlen=RECENT_CHANGES)
    )
    best: events.BestChanged | None = None
    disqualified: dict[int, str] = field(default_factory=dict)
    """Design -> why its audit disqualified it."""
    pinned: set[int] = field(default_factory=set)
    """Designs that a person wants promoted before others."""
    verdict: events.RunFinished | None = None
    stop_reason: str = ""
    budget_use: dict[str, str] = field(default_factory=dict)
    """Budget -> how far it is used, of those that are used to a half or more."""
    workers_lost: int = 0
    nodes: dict[str, int] = field(default_factory=dict)
    """Node -> the jobs that it runs at a time; {} where all of them run on this machine."""
    resumed: int = 0
    workers: int = 1
    active_s: float = 0.0
    children_since_s: float | None = None
    """Active seconds when the first child was started."""
    children_until_s: float = 0.0
    """Active seconds when the latest child came."""
    started_at: float | None = None
    last_at: float | None = None

    def apply(self, event: Event) -> None:
        """Take one event into account; a kind that is not known counts as time only."""
        self._clock(event)
        _apply(event.record, self, event.at)

    def label(self, design: int | None) -> str:
        """Return what a design is called."""
        return label(design, self.names)

    @property
    def verifications(self) -> int:
        """Verifications with a result, over all rungs and the finals."""
        return sum(rung.done for rung in self._stages)

    @property
    def planned(self) -> int:
        """Verifications that the ladder and the finals allow."""
        return sum(rung.planned for rung in self._stages)

    @property
    def warnings(self) -> list[str]:
        """How far the budgets are used of which half is gone; nothing once the run is finished."""
        return [] if self.state == FINISHED else list(self.budget_use.values())

    @property
    def _stages(self) -> list[RungView]:
        return self.rungs if self.finals is None else [*self.rungs, self.finals]

    def under_way(self) -> tuple[list[Running], int]:
        """Return the tasks that are worked on, and how many verifications wait for a worker.

        Workers take verifications in the order in which they were asked for.  How many workers
        there are is known from the first result on; until then all count as worked on.
        """
        if not any(stage.timed for stage in self._stages):
            return list(self.running.values()), 0
        verifications = [task for task in self.running.values() if task.design is not None]
        waiting = {task.seq for task in verifications[self.workers :]}
        tasks = [task for task in self.running.values() if task.seq not in waiting]
        return tasks, len(waiting)

    def elapsed_s(self, now: float | None = None) -> float:
        """Return seconds of work, pauses between an interruption and its resumption left out."""
        if now is None or self.last_at is None or self.state != RUNNING:
            return self.active_s
        return self.active_s + max(0.0, now - self.last_at)

    def remaining_s(self) -> float | None:
        """Return the seconds left, from the durations measured so far; None before the first.

        Designers and verifiers work side by side: the time is that of the slower ones.
        """
        if self.state == FINISHED:
            return 0.0
        verifiers = self._verifiers_s()
        return None if verifiers is None else max(verifiers, self._designers_s())

    def _verifiers_s(self) -> float | None:
        """Return the seconds that the workers need for what the ladder still allows.

        A rung without a measurement is taken to cost in proportion to its tokens and to the
        model's size.
        """
        stages = self._stages
        measured = [(i, rung.seconds / rung.timed) for i, rung in enumerate(stages) if rung.timed]
        if not measured:
            return None
        work = 0.0
        for index, rung in enumerate(stages):
            nearest, seconds = min(measured, key=lambda pair: abs(pair[0] - index))
            ratio = _cost(rung) / _cost(stages[nearest])
            work += max(0, rung.planned - rung.done) * seconds * ratio
        return work / self.workers

    def _designers_s(self) -> float:
        """Return the seconds for the children to come, at the pace of those that came."""
        made = self.accepted - len(self.names)
        if made <= 0 or self.children_since_s is None:
            return 0.0
        pace = (self.children_until_s - self.children_since_s) / made
        return pace * max(0, self.designs_planned - made)

    def _clock(self, event: Event) -> None:
        if self.started_at is None:
            self.started_at = event.at
        # Nobody works between the last event of one process and the resumption by another.
        if self.last_at is not None and event.kind not in (kinds.RUN_RESUMED, kinds.RUN_EXTENDED):
            self.active_s += max(0.0, event.at - self.last_at)
        self.last_at = event.at


def view(store: Store) -> RunView:
    """Return the run as its whole log tells it."""
    folded = RunView(name=store.meta("name", ""))
    for event in store.events():
        folded.apply(event)
    return folded


def _cost(rung: RungView) -> float:
    """Return the relative cost of one verification: tokens times the model's parameters."""
    from genesys_engine.gab.scales import SCALES

    scale = SCALES.get(rung.scale)
    size = scale.reference_parameters(NOMINAL_VOCABULARY) if scale is not None else 1
    return float(max(1, rung.tokens) * size)


# --- one function per kind of event ----------------------------------------------------------


@singledispatch
def _apply(event: events.EventRecord | None, run: RunView, at: float) -> None:
    """Take into account what an event holds; of other kinds nothing is shown."""


@_apply.register
def _run_started(event: events.RunStarted, run: RunView, at: float) -> None:
    run.seed = event.seed
    run.mode, run.selection = event.mode, event.selection
    run.reference, run.designs_planned = event.reference, event.designs
    run.rungs = [RungView(rung.scale, rung.verifications, rung.tokens) for rung in event.rungs]
    run.finals = _finals_of(event)
    run.state = RUNNING


def _finals_of(event: events.RunStarted) -> RungView | None:
    """Return the finals of a run that begins or is extended, with the most trainings they take."""
    finals, top = event.finals, event.rungs[-1]
    if finals is None or not finals.designs:
        return None
    return RungView(top.scale, finals.most_trainings, top.tokens)


@_apply.register
def _run_extended(event: events.RunExtended, run: RunView, at: float) -> None:
    run.designs_planned = event.designs
    for index, rung in enumerate(event.rungs):
        if index < len(run.rungs):
            run.rungs[index].planned = rung.verifications
        else:
            run.rungs.append(RungView(rung.scale, rung.verifications, rung.tokens))
    run.finals = _finals_of(event) or run.finals
    run.state, run.verdict, run.stop_reason = RUNNING, None, ""


@_apply.register
def _run_resumed(event: events.RunResumed, run: RunView, at: float) -> None:
    # What was running continues a process of its own: it is as young as that process.
    for tasks in (run.running, run.auditing):
        for seq, task in tasks.items():
            tasks[seq] = replace(task, since=at, node="", placed_at=None)
    run.resumed += 1
    run.llm_out = ""
    run.state, run.stop_reason = RUNNING, ""


@_apply.register
def _run_interrupted(event: events.RunInterrupted, run: RunView, at: float) -> None:
    run.state = INTERRUPTED


@_apply.register
def _run_stopped(event: events.RunStopped, run: RunView, at: float) -> None:
    run.state, run.stop_reason = STOPPED, event.reason


@_apply.register
def _run_finished(event: events.RunFinished, run: RunView, at: float) -> None:
    run.state, run.verdict = FINISHED, event
    run.running.clear()
    run.auditing.clear()


@_apply.register
def _design_started(event: events.DesignStarted, run: RunView, at: float) -> None:
    name = seed_name(event.origin)
    if name is None and run.children_since_s is None:
        run.children_since_s = run.active_s
    run.running[event.seq] = Running(event.seq, None, None, at, name)


@_apply.register
def _design_accepted(event: events.DesignAccepted, run: RunView, at: float) -> None:
    run.running.pop(event.seq, None)
    name = seed_name(event.operator)
    if name is not None:
        run.names[event.design] = name
    else:
        run.children_until_s = run.active_s
        run.changes.append((event.design, event.parents, event.change))
    run.accepted += 1


@_apply.register
def _design_rejected(event: events.DesignRejected, run: RunView, at: float) -> None:
    run.running.pop(event.seq, None)
    run.rejected += 1
    run.causes.update(event.codes)


@_apply.register
def _design_duplicate(event: events.DesignDuplicate, run: RunView, at: float) -> None:
    run.running.pop(event.seq, None)
    run.duplicates += 1


@_apply.register
def _design_exhausted(event: events.DesignExhausted, run: RunView, at: float) -> None:
    run.running.pop(event.seq, None)
    run.exhausted += 1


@_apply.register
def _design_abandoned(event: events.DesignAbandoned, run: RunView, at: float) -> None:
    run.running.pop(event.seq, None)
    run.abandoned += 1
    run.causes[event.code] += 1


@_apply.register
def _llm_used(event: events.LLMUsed, run: RunView, at: float) -> None:
    for role, used in event.roles.items():
        run.llm[role] = add(run.llm.get(role, LLMUsage()), used)


@_apply.register
def _llm_unreachable(event: events.LLMUnreachable, run: RunView, at: float) -> None:
    run.llm_out = event.reason


@_apply.register
def _llm_reachable(event: events.LLMReachable, run: RunView, at: float) -> None:
    run.llm_out = ""


def _stage(run: RunView, event: events.DeviceUsed | _Ended) -> RungView:
    """Return the rung of a verification, or the finals."""
    fresh = is_fresh(event.replicate)
    return run.finals if fresh and run.finals else run.rungs[event.rung]


@_apply.register
def _confirmation_started(event: events.ConfirmationStarted, run: RunView, at: float) -> None:
    run.auditing[event.seq] = Running(event.seq, event.design, event.rung, at)


@_apply.register
def _design_confirmed(event: events.DesignConfirmed, run: RunView, at: float) -> None:
    run.auditing.pop(event.seq, None)


@_apply.register
def _design_pinned(event: events.DesignPinned, run: RunView, at: float) -> None:
    run.pinned.add(event.design)


@_apply.register
def _verification_started(event: events.VerificationStarted, run: RunView, at: float) -> None:
    seq = event.seq
    run.running[seq] = Running(seq, event.design, event.rung, at)


@_apply.register
def _device_used(event: events.DeviceUsed, run: RunView, at: float) -> None:
    stage = _stage(run, event)
    stage.timed += 1
    stage.seconds += event.seconds
    run.workers = event.workers


def _verification_ended(run: RunView, event: _Ended) -> RungView:
    rung = _stage(run, event)
    run.running.pop(event.seq, None)
    rung.opened = True
    return rung


@_apply.register
def _verification_finished(event: events.VerificationFinished, run: RunView, at: float) -> None:
    _verification_ended(run, event).finished += 1


@_apply.register
def _verification_failed(event: events.VerificationFailed, run: RunView, at: float) -> None:
    _verification_ended(run, event).failed += 1
    run.causes[event.cause] += 1


@_apply.register
def _rung_opened(event: events.RungOpened, run: RunView, at: float) -> None:
    run.rungs[event.rung].opened = True


@_apply.register
def _generation_finished(event: events.GenerationFinished, run: RunView, at: float) -> None:
    run.generation = event.generation


@_apply.register
def _best_changed(event: events.BestChanged, run: RunView, at: float) -> None:
    run.best = event


@_apply.register
def _design_disqualified(event: events.DesignDisqualified, run: RunView, at: float) -> None:
    run.auditing.pop(event.seq, None)
    run.disqualified[event.design] = event.reason
    if run.best is not None and run.best.design in (event.design, *event.in_question):
        run.best = None  # the next event names another one


@_apply.register
def _finals_opened(event: events.FinalsOpened, run: RunView, at: float) -> None:
    if run.finals is not None:  # there may be fewer children than requested
        run.finals.planned = event.most_trainings
        run.finals.opened = True


@_apply.register
def _finals_look(event: events.FinalsLook, run: RunView, at: float) -> None:
    if run.finals is not None:
        run.finals.planned = run.finals.done + event.to_come


@_apply.register
def _budget_warning(event: events.BudgetWarning, run: RunView, at: float) -> None:
    name = event.budget.removeprefix("budget.").replace("_", " ")
    name = name.replace("llm", "LLM").replace("usd", "USD")
    used, cap = amount(event.used), amount(event.cap)
    lost = f" ({amount(event.lost)} of it in lost replies)" if event.lost else ""
    run.budget_use.pop(name, None)  # so that the newest comes last
    run.budget_use[name] = f"{used} of {cap} {name} used{lost}"


@_apply.register
def _worker_lost(event: events.WorkerLost, run: RunView, at: float) -> None:
    run.workers_lost += 1


@_apply.register
def _trial_placed(event: nodes.TrialPlaced, run: RunView, at: float) -> None:
    if (task := run.running.get(event.seq)) is not None:
        run.running[event.seq] = replace(task, node=event.node, placed_at=at)


@_apply.register
def _node_joined(event: nodes.NodeJoined, run: RunView, at: float) -> None:
    run.nodes[event.node] = run.nodes.get(event.node, 0) + event.slots


@_apply.register
def _node_lost(event: nodes.NodeLost, run: RunView, at: float) -> None:
    run.nodes.pop(event.node, None)
