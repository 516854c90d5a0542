"""A whole run with real operators and a real store; training is answered from a record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sample_run import META

from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.corpus.prepared import PreparedCorpus
from genesys_engine.engine.loop.evolution import Evolution, Stopped
from genesys_engine.engine.run.assembly import assemble
from genesys_engine.engine.run.context import RunContext
from genesys_engine.engine.run.lifecycle import run_started
from genesys_engine.engine.store.events import digest_events
from genesys_engine.engine.store.run_store import Store
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.testing.recorded import RecordedExecutor

CORPUS = PreparedCorpus(".", 1024)
EXPERIMENT = """
[run]
seed = {seed}
lookahead = 5
mode = "{mode}"
[population]
seeds = ["gpt", "retnet", "mamba2"]
size = 8
offspring = 6
crossover_after = 6
scratch_after = 8
[selection]
use = "{selection}"
[ladder]
release = "{release}"
finalists = {finalists}
finalist_seeds = 2
[[ladder.rungs]]
scale = "0.2M"
verifications = 30
noise_seeds = 3
[[ladder.rungs]]
scale = "1M"
verifications = 7
[[ladder.rungs]]
scale = "4M"
verifications = 2
[budget]
designs = 20
"""


@dataclass
class Trial:
    """One way to carry out the same experiment."""

    folder: Path
    seed: int = 1
    mode: str = "steady_state"
    selection: str = "quadrant"
    release: str = "gradual"
    workers: int = 2
    delay_s: float = 0.0
    reject: float = 0.05
    leaks: float = 0.0
    fail: float = 0.03
    luck: float = 1.0
    finalists: int = 0
    sets: tuple[str, ...] = ()
    untrained: float = 0.0  # accuracy of an untrained model; 0: there is no accuracy
    executors: list[RecordedExecutor] = field(default_factory=list)

    def go(
        self,
        should_stop: Callable[[], str | None] = lambda: None,
        pins: Callable[[], Iterable[int]] = tuple,
    ) -> Evolution:
        """Start the run, or take it up if the folder has one."""
        file = self.folder.with_suffix(".toml")
        keys = ("seed", "mode", "selection", "release", "finalists")
        file.write_text(EXPERIMENT.format(**{key: getattr(self, key) for key in keys}))
        host = PluginHost()
        experiment = load_experiment(file, self.sets, host.registry)
        context = RunContext(host, experiment, CORPUS)
        fresh = not (self.folder / "run.sqlite").exists()
        meta = {**META, "experiment": experiment.to_json()}
        store = Store.create(self.folder, meta) if fresh else Store.open(self.folder, write=True)
        if fresh:
            store.curves.allocate(39)
            with store.transaction():
                store.add_event(run_started(context))
        speed = {"workers": self.workers, "delay_s": self.delay_s}
        faults = {"reject": self.reject, "leaks": self.leaks, "fail": self.fail, "luck": self.luck}
        executor = RecordedExecutor(**speed, **faults, accuracy=self.untrained)
        self.executors.append(executor)
        bigram: list[dict[str, Any]] = []
        with store:
            parts = (store, context, executor, bigram, lambda event: None, should_stop)
            evolution = assemble(*parts, pins=pins)
            try:
                evolution.run()
            finally:
                evolution.designer.close()
                executor.close()
        return evolution

    def digest(self) -> str:
        with Store.open(self.folder) as store:
            return digest_events(store.events())

    def events(self, kind: str) -> list[dict[str, Any]]:
        with Store.open(self.folder) as store:
            return [dict(event.payload) for event in store.events() if event.kind == kind]


def go_in_parts(trial: Trial, steps: range) -> None:
    """Bring a run to its end, stopped after so many steps each time."""
    for count in steps:
        countdown = iter(range(count))
        try:
            trial.go(lambda left=countdown: None if next(left, None) is not None else "stop")
        except Stopped:
            continue
        return
    pytest.fail("the run did not come to its end")
