"""What the parts of a run are made from, passed along together and made once.

A `Setup` is known as soon as an experiment is read; a `RunContext` once its text is prepared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from genesys_engine.engine.check.design_check import CheckSettings
from genesys_engine.engine.config import Experiment
from genesys_engine.engine.corpus.prepared import PreparedCorpus
from genesys_engine.engine.corpus.task_data import with_data
from genesys_engine.engine.evaluate.verifier import RungSettings, VerifySettings
from genesys_engine.engine.jobs.worker_jobs import ComponentSpec
from genesys_engine.engine.run.settings import (
    asks_to_compile,
    component_specs,
    decision_settings,
    evaluation_limits,
    fitness_measure,
    rung_settings,
    training_limits,
)
from genesys_engine.engine.score.fitness import Measure
from genesys_engine.engine.select.policy import Settings
from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.host import PluginHost

CHECK_SECONDS = 120.0  # a check takes about a second; a block that needs this long is useless


@dataclass(frozen=True)
class Setup:
    """An experiment, checked, and the plugins that it is made of."""

    host: PluginHost
    experiment: Experiment

    @cached_property
    def measure(self) -> Measure:
        """What fitness is made of, and the metrics that the selector weighs next to it."""
        return fitness_measure(self.experiment, self.host.registry)

    @cached_property
    def decisions(self) -> Settings:
        """What the policy reads; the reference comes first among the seeds."""
        return decision_settings(self.experiment)

    def on(self, corpus: PreparedCorpus) -> RunContext:
        """Return what a run on a prepared text is made from."""
        return RunContext(self.host, self.experiment, corpus)


@dataclass(frozen=True)
class RunContext(Setup):
    """A setup whose text is prepared."""

    corpus: PreparedCorpus

    @property
    def folder(self) -> Path:
        """The folder of the corpus."""
        return Path(self.corpus.folder)

    @cached_property
    def rungs(self) -> tuple[RungSettings, ...]:
        """The rungs, with the budget of each verification in full."""
        return rung_settings(self.experiment, self.corpus.vocab_size)

    @cached_property
    def evaluators(self) -> Mapping[str, tuple[ComponentSpec, ...]]:
        """The evaluators of each rung by its scale, with where their tasks' data lie."""
        found = {}
        for rung in self.rungs:
            asked = [each for each in self.experiment.evaluators if each.scores_at(rung.scale)]
            specs = component_specs(self.host.registry, "evaluator", asked)
            found[rung.scale] = tuple(with_data(spec, self.corpus.tasks) for spec in specs)
        return found

    @cached_property
    def verify(self) -> VerifySettings:
        """What every verification has in common."""
        (trainer,) = component_specs(self.host.registry, "trainer", [self.experiment.trainer])
        return VerifySettings(
            seed=self.experiment.run.seed,
            corpus=self.folder,
            rungs=self.rungs,
            trainer=ComponentSpec(trainer.target, trainer.options),
            evaluators=self.evaluators,
            limits=training_limits(self.experiment, self.corpus),
            evaluation=evaluation_limits(self.experiment, self.corpus),
            compiles=asks_to_compile(self.experiment),
        )

    @cached_property
    def check(self) -> CheckSettings:
        """What the check of a design has to know."""
        return check_settings(self, self.corpus.vocab_size)


def check_settings(setup: Setup, vocab_size: int) -> CheckSettings:
    """Return what the check of a design has to know, whatever text it is to be trained on."""
    experiment, section = setup.experiment, setup.experiment.executor
    return CheckSettings(
        scales=tuple(rung.scale for rung in rung_settings(experiment, vocab_size)),
        vocab_size=vocab_size,
        seed=experiment.run.seed,
        limits=Limits(
            min(CHECK_SECONDS, section.timeout_s),
            int(section.memory_gib * 2**30),
            readable=experiment.sandbox.readable,
        ),
        checkers=component_specs(setup.host.registry, "checker", experiment.checkers),
    )
