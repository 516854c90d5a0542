"""One event as one line of text, for a human-readable log."""

from __future__ import annotations

from functools import singledispatch

from genesys_engine.engine.common.text import duration, percent, plural, shortened
from genesys_engine.engine.store import event_types as events
from genesys_engine.engine.store import node_events as nodes
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.views.finals import look_words
from genesys_engine.engine.views.run import RunView


def line_of(event: Event, run: RunView) -> str:
    """Return `event` as a sentence; `run` has it applied already and knows the names."""
    if (words := _words(event.record, run)) is not None:
        return words
    details = ", ".join(f"{key} {value}" for key, value in event.payload.items())
    return f"{event.kind} {details}".strip()


def words_of_node(record: events.EventRecord) -> str:
    """Return what the log would say of a node or of the executor, before there is a log."""
    return _words(record, RunView()) or ""


@singledispatch
def _words(event: events.EventRecord | None, run: RunView) -> str | None:
    """Return what an event says; None where there are no words for its kind."""
    return None


@_words.register
def _started(event: events.RunStarted, run: RunView) -> str:
    rungs = ", ".join(f"{rung.planned} at {rung.scale}" for rung in run.rungs)
    children = plural(run.designs_planned, "child", "children")
    return f"started: {children} to design; verifications: {rungs}"


@_words.register
def _extended(event: events.RunExtended, run: RunView) -> str:
    changes = ", ".join(
        f"{c.key} {c.now}" + ("" if c.was is None else f" instead of {c.was}")
        for c in event.changes
    )
    return f"extended: {changes}"


@_words.register
def _accepted(event: events.DesignAccepted, run: RunView) -> str:
    parents = " and ".join(run.label(parent) for parent in event.parents)
    origin = f" from {parents}" if parents else ""
    return f"design {run.label(event.design)}{origin}: {shortened(event.change)}"


@_words.register
def _rejected(event: events.DesignRejected, run: RunView) -> str:
    return f"design #{event.design} rejected: {', '.join(event.codes)}"


@_words.register
def _duplicate(event: events.DesignDuplicate, run: RunView) -> str:
    return f"not new, the same as design {run.label(event.of)}: {shortened(event.change)}"


@_words.register
def _exhausted(event: events.DesignExhausted, run: RunView) -> str:
    return f"no new design: {event.reason}"


@_words.register
def _abandoned(event: events.DesignAbandoned, run: RunView) -> str:
    last = f"; the {event.role}'s last reply starts with: {event.reply}" if event.reply else ""
    task = f"design abandoned (task t{event.seq})"
    return f"{task}: {event.code}: {shortened(event.reason).rstrip('.')}{last}"


_FAULTS = {
    "limited": "is rate-limited",
    "slow": "timed out",
    "down": "is unreachable",
    "strange": "does not speak OpenAI's protocol",
    "failing": "returns errors",
    "lost": "closes the connection before the reply ends",
}


@_words.register
def _unreachable(event: events.LLMUnreachable, run: RunView) -> str:
    fault = _FAULTS.get(event.kind, "does not answer")
    address = f" at {event.address}" if event.address else ""
    next_try = event.next_try_s
    again = "" if next_try is None else f"; retrying in {duration(next_try)}"
    what = f"the LLM{address} {fault}{again}; designers wait, verifiers continue"
    return f"{what}: {shortened(event.reason)}"


@_words.register
def _schema_refused(event: events.LLMSchemaRefused, run: RunView) -> str:
    return (
        f"the LLM rejects the JSON Schema of the role {event.role}: requests continue without"
        f" one, and replies are still validated: {shortened(event.reason)}"
    )


@_words.register
def _verified(event: events.VerificationFinished, run: RunView) -> str:
    fresh = run.finals if is_fresh(event.replicate) else None
    rung = fresh or run.rungs[event.rung]
    stage = f"finals at {rung.scale}" if fresh else rung.scale
    left = run.remaining_s()
    eta = f", about {duration(left)} left" if left else ""
    gain = percent(event.fitness)
    label = run.label(event.design)
    if event.replicate and not fresh:  # the reference with another seed: not a gain, but noise
        label += " again, to measure the noise:"
    return f"{stage} {rung.done}/{rung.planned}: {label} {gain}{eta}"


@_words.register
def _failed(event: events.VerificationFailed, run: RunView) -> str:
    scale = run.rungs[event.rung].scale
    label = run.label(event.design)
    return f"{scale}: {label} failed: {event.cause}: {event.reason}"


@_words.register
def _best(event: events.BestChanged, run: RunView) -> str:
    scale, label = run.rungs[event.rung].scale, run.label(event.design)
    if label == run.reference:
        return f"best so far: {label} (the reference) at {scale}"
    return f"best so far: {label} with a mean gain of {percent(event.fitness)} up to {scale}"


@_words.register
def _disqualified(event: events.DesignDisqualified, run: RunView) -> str:
    return f"design {run.label(event.design)} disqualified: {event.reason}"


@_words.register
def _pinned(event: events.DesignPinned, run: RunView) -> str:
    return f"design {run.label(event.design)} pinned: it is promoted before others"


@_words.register
def _finals(event: events.FinalsOpened, run: RunView) -> str:
    designs = ", ".join(run.label(design) for design in event.finalists)
    rivals = ", ".join(run.label(seed) for seed in event.seeds_of_population)
    seeds = plural(event.seeds, "fresh seed")
    return f"finals: {designs} against {rivals}, up to {seeds} each"


@_words.register
def _warning(event: events.BudgetWarning, run: RunView) -> str:
    return f"budget: {next(reversed(run.budget_use.values()))}"


@_words.register
def _resumed(event: events.RunResumed, run: RunView) -> str:
    return "resumed"


@_words.register
def _interrupted(event: events.RunInterrupted, run: RunView) -> str:
    return "interrupted"


@_words.register
def _stopped(event: events.RunStopped, run: RunView) -> str:
    return f"stopped: {event.reason}"


@_words.register
def _finished(event: events.RunFinished, run: RunView) -> str:
    # The verdict itself is printed once, after the progress.
    return "all budgets are used up, or no work is left"


@_words.register
def _opened(event: events.RungOpened, run: RunView) -> str:
    return f"rung {event.scale} opened"


@_words.register
def _generation(event: events.GenerationFinished, run: RunView) -> str:
    return f"generation {event.generation} finished"


@_words.register
def _confirmed(event: events.DesignConfirmed, run: RunView) -> str:
    return f"design {run.label(event.design)} confirmed by its audit"


@_words.register
def _look(event: events.FinalsLook, run: RunView) -> str:
    return f"finals: {look_words(event, run.label)}"


@_words.register
def _handled(event: events.ErrorHandled, run: RunView) -> str:
    return f"error handled by {event.by}: {event.action}"


@_words.register
def _lost(event: events.WorkerLost, run: RunView) -> str:
    return f"worker lost: {event.reason}"


@_words.register
def _reachable(event: events.LLMReachable, run: RunView) -> str:
    return "the LLM is reachable again"


@_words.register
def _joined(event: nodes.NodeJoined, run: RunView) -> str:
    gpus = f", {event.gpus:g} GPUs" if event.gpus else ""
    jobs = plural(event.slots, "job")
    return f"node {event.node} joined: {jobs} at a time{gpus}, isolation {event.level}"


@_words.register
def _node_refused(event: nodes.NodeRefused, run: RunView) -> str:
    return f"node {event.node} gets no work: {event.reason}"


@_words.register
def _node_lost(event: nodes.NodeLost, run: RunView) -> str:
    return f"node {event.node} is lost: {event.reason}"


@_words.register
def _file_differs(event: nodes.NodeFileDiffers, run: RunView) -> str:
    return f"node {event.node} has another file at {event.path}; it was sent the right one"


@_words.register
def _placed(event: nodes.TrialPlaced, run: RunView) -> str:
    return f"{event.stage} of task t{event.seq} runs on node {event.node}"


@_words.register
def _executor_waits(event: nodes.ExecutorWaiting, run: RunView) -> str:
    return f"waiting: {event.reason}"
