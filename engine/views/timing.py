"""Where the time went: seconds of the workers by stage, next to the wall time of the run."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from genesys_engine.engine.jobs.facts import number
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.run import RUNNING, RunView

DESIGN, BUILD, TRAIN, EVALUATE, OVERHEAD = "design", "build", "train", "evaluate", "overhead"

_STAGES = {BUILD: "build_s", TRAIN: "train_s", EVALUATE: "eval_s"}


@dataclass(frozen=True)
class Stage:
    """Seconds spent in one stage, over all workers, and its share of all stages."""

    name: str
    seconds: float
    share: float


@dataclass(frozen=True)
class Timing:
    """`stages` add up to the work of all workers; `wall_s` is what a clock on the wall saw.

    `tokens` is what all trials have seen.  `tokens_per_s` is the speed of those that came to their
    end: a trial that was killed and continued has seen more than its seconds tell of.
    """

    stages: tuple[Stage, ...]
    wall_s: float
    tokens: int
    tokens_per_s: float | None
    max_rss_bytes: int | None

    @property
    def work_s(self) -> float:
        """Seconds of work in all stages together."""
        return sum(stage.seconds for stage in self.stages)

    def to_json(self) -> dict[str, object]:
        """Return the times as the command line gives them out."""
        return {**asdict(self), "work_s": self.work_s}


def elapsed_s(store: Store, run: RunView, now: float | None = None) -> float:
    """Return the seconds that a run has worked: as it kept them, or to `now` while it works."""
    kept = float(store.meta("wall_s", 0.0))
    return run.elapsed_s(now) if run.state == RUNNING or not kept else kept


def timing(store: Store) -> Timing:
    """Return the time by stage.

    `design` is making and checking children; `overhead` is what a worker needed beyond
    building, training and evaluating: its start, and the way to and from it.
    """
    seconds = dict.fromkeys((DESIGN, BUILD, TRAIN, EVALUATE, OVERHEAD), 0.0)
    for task in store.tasks():
        seconds[DESIGN] += number(task.facts, "design_s")
    tokens, timed_tokens, memory = 0, 0.0, 0.0
    for row in store.verifications():
        parts = {stage: number(row.facts, key) for stage, key in _STAGES.items()}
        for stage, spent in parts.items():
            seconds[stage] += spent
        wall = number(row.facts, "wall_s")
        seconds[OVERHEAD] += max(0.0, wall - sum(parts.values()))
        tokens += row.tokens
        timed_tokens += number(row.facts, "tokens_per_s") * parts[TRAIN]
        memory = max(memory, number(row.facts, "max_rss_bytes"))
    total = sum(seconds.values())
    trained = seconds[TRAIN]
    return Timing(
        tuple(Stage(name, s, s / total if total else 0.0) for name, s in seconds.items()),
        wall_s=float(store.meta("wall_s", 0.0)),
        tokens=tokens,
        tokens_per_s=timed_tokens / trained if trained else None,
        max_rss_bytes=int(memory) or None,
    )
