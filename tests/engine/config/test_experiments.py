"""The experiments of the repository are valid, and the published pyramid is the published one."""

from __future__ import annotations

from pathlib import Path

import pytest

from genesys_engine.engine.config import load_experiment
from genesys_engine.plugins.evaluators.task_names import LISTS, PAPER, expand, unknown

FOLDER = Path(__file__).parents[3] / "experiments"
LADDERS = ("ladder_cpu.toml", "ladder_gpu.toml")


@pytest.mark.parametrize("name", LADDERS)
def test_it_is_valid(name: str) -> None:
    experiment = load_experiment(FOLDER / name, ())
    rungs, seeds = experiment.ladder.rungs, len(experiment.population.seeds)
    needed = seeds + experiment.budget.designs + rungs[0].noise_seeds - 1
    assert rungs[0].verifications == needed, "every design has its place at the lowest rung"
    assert experiment.ladder.finalists > 0


def test_the_pyramid_is_the_published_one() -> None:
    rungs = load_experiment(FOLDER / "ladder_gpu.toml", ()).ladder.rungs
    assert [(rung.scale, rung.verifications) for rung in rungs] == [
        ("14M", 256),
        ("31M", 64),
        ("70M", 16),
        ("125M", 4),
        ("350M", 1),
    ]
    assert all(rung.tokens is rung.batch_tokens is rung.peak_lr is None for rung in rungs)


def test_the_papers_tasks_are_26_names_that_lm_eval_knows() -> None:
    """All of its 29 but the three that score with what they fetch."""
    assert len(LISTS[PAPER]) == len(set(LISTS[PAPER])) == 26
    assert unknown(LISTS[PAPER]) is None
    assert expand([PAPER]).library == LISTS[PAPER]
