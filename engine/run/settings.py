"""What the parts of a run learn about the experiment: plain settings, and components of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from genesys_engine.engine.config import Component, Experiment
from genesys_engine.engine.config.metrics import objectives
from genesys_engine.engine.corpus.prepared import PreparedCorpus
from genesys_engine.engine.evaluate.verifier import RungSettings
from genesys_engine.engine.jobs.worker_jobs import ComponentSpec
from genesys_engine.engine.score.finals import most_trainings
from genesys_engine.engine.score.fitness import Measure
from genesys_engine.engine.select.policy import Settings
from genesys_engine.gab.scales import get_scale
from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.corpus import TRAINING_FILES
from genesys_engine.plugins.registry import Registry
from genesys_engine.plugins.sandbox.readable import accelerator_devices


def decision_settings(experiment: Experiment) -> Settings:
    """Return what the policy reads; the reference comes first among the seeds."""
    population, run = experiment.population, experiment.run
    others = tuple(seed for seed in population.seeds if seed != population.reference)
    return Settings(
        seed=run.seed,
        seeds=(population.reference, *others),
        children=experiment.budget.designs,
        noise_seeds=tuple(rung.noise_seeds for rung in experiment.ladder.rungs),
        lookahead=run.lookahead,
        generational=run.mode == "generational",
        population=population.size,
        offspring=population.offspring,
        parent_weights=population.parents,
        rivals=population.start == "reference",
        restart=population.restart,
        crossover_after=population.crossover_after,
        scratch_after=population.scratch_after,
        finalists=experiment.ladder.finalists,
        finalist_seeds=experiment.ladder.finalist_seeds,
        adaptive_operators=experiment.variation.operator_selection == "adaptive",
    )


def finals_trainings(experiment: Experiment) -> int:
    """Return how many trainings the finals take at most."""
    ladder, seeds = experiment.ladder, len(decision_settings(experiment).seeds)
    return most_trainings(seeds, ladder.finalists, ladder.finalist_seeds)


def fitness_measure(experiment: Experiment, registry: Registry) -> Measure:
    """Return what fitness is made of, and the metrics that the selector weighs next to it."""
    section = experiment.fitness
    wanted = objectives(experiment.selection, registry)
    return Measure(section.metrics, section.relative_to, wanted)


def rung_settings(experiment: Experiment, vocab_size: int) -> tuple[RungSettings, ...]:
    """Return the rungs with the budget of each verification in full."""
    found = []
    for rung in experiment.ladder.rungs:
        scale = get_scale(rung.scale)
        default = int(scale.reference_parameters(vocab_size) * scale.tokens_per_parameter)
        found.append(
            RungSettings(
                scale=scale.name,
                context=scale.context,
                tokens=rung.tokens or default,
                batch_tokens=rung.batch_tokens or scale.batch_tokens,
                peak_lr=rung.peak_lr or scale.peak_lr,
                lr_scale=(rung.peak_lr or scale.peak_lr) / scale.peak_lr,
            )
        )
    return tuple(found)


def asks_to_compile(experiment: Experiment) -> bool:
    """Tell whether the trainer's options ask for a compiler here; a trainer may know none."""
    choice = experiment.trainer.options.get("compile", "never")
    return choice == "always" or (choice == "auto" and _uses_accelerator(experiment))


def _uses_accelerator(experiment: Experiment) -> bool:
    """Tell whether trainings use one: where CUDA is demanded wherever they run, else as here."""
    device = str(experiment.trainer.options.get("device", "auto"))
    return device == "cuda" or (device != "cpu" and bool(accelerator_devices()))


def training_limits(experiment: Experiment, corpus: PreparedCorpus) -> Limits:
    """Return what a training job may use: of the corpus, the training text alone."""
    folder = Path(corpus.folder).absolute()
    return _limits(experiment, corpus, *(str(folder / name) for name in TRAINING_FILES))


def evaluation_limits(experiment: Experiment, corpus: PreparedCorpus) -> Limits:
    """Return what an evaluation job may use: the whole corpus, and the data of the tasks.

    The processes that serve it the candidate's model read neither.
    """
    folder = str(Path(corpus.folder).absolute())
    limits = _limits(experiment, corpus, folder, *corpus.tasks.values())
    return replace(limits, subject_readable=experiment.sandbox.readable)


def _limits(experiment: Experiment, corpus: PreparedCorpus, *readable: str) -> Limits:
    """Return what a job may use that reads these files and, where there is one, the accelerator."""
    section = experiment.executor
    file_bytes = _checkpoint_bytes(experiment, corpus.vocab_size)
    return Limits(
        file_bytes=max(Limits.file_bytes, file_bytes),
        disk_bytes=max(Limits.disk_bytes, 4 * file_bytes),
        wall_s=section.timeout_s,
        memory_bytes=int(section.memory_gib * 2**30),
        readable=(*readable, *experiment.sandbox.readable),
        accelerator=_uses_accelerator(experiment),
    )


def _checkpoint_bytes(experiment: Experiment, vocab_size: int) -> int:
    """Return what a training checkpoint of the largest rung may need: three fp32 numbers for each
    parameter, and as much again for designs that are larger than the reference."""
    scales = (get_scale(rung.scale) for rung in experiment.ladder.rungs)
    return 24 * max(scale.reference_parameters(vocab_size) for scale in scales)


def component_specs(
    registry: Registry, kind: str, entries: Sequence[Component]
) -> tuple[ComponentSpec, ...]:
    """Return components of a kind as workers need them, by name."""
    return tuple(
        ComponentSpec(registry.get(kind, each.use).target, dict(each.options), each.use)
        for each in entries
    )
