"""What the copy of an experiment in a run or a study needs next to itself, as `--set` takes it.

The copy lies elsewhere than the file that its paths are relative to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from genesys_engine.engine.common.options import TomlTable
from genesys_engine.engine.common.toml_text import toml_key, toml_value
from genesys_engine.engine.config.schema import Experiment

PATHS = "paths"
"""Key of the metadata of a run or a study that holds what `kept_paths` returns."""
FIRST = (("plugins", "local"), ("knowledge", "base"), ("compare", "proposals"))
"""Sections and keys of the paths that were relative to the file before all of them were."""


def kept_paths(experiment: Experiment) -> list[str]:
    """Return every path of an experiment, and of its seeds, as an override that makes it whole."""
    kept = [
        f"{'.'.join(toml_key(str(part)) for part in place)}={toml_value(path)}"
        for place, path in experiment.paths
    ]
    if experiment.population.own:
        seeds = experiment.to_json()["population"]["seeds"]
        kept += seed_sets(seeds, experiment.population.reference)
    return kept


def kept_sets(meta: Callable[..., Any]) -> list[str]:
    """Return the overrides that a run or a study was started with, its paths made whole.

    Args:
        meta: reads the metadata of a store.
    """
    paths = meta(PATHS, None)
    if paths is None:  # an older version began it
        experiment: TomlTable = meta("experiment")
        found = ((section, key, experiment.get(section, {}).get(key)) for section, key in FIRST)
        paths = [f"{section}.{key}={toml_value(value)}" for section, key, value in found if value]
    return [*meta("sets", []), *paths]


def is_place(seed: str) -> bool:
    """Tell whether a seed, as a store keeps it, is a file or a design of another run."""
    return seed.startswith("/")


def seed_sets(seeds: Sequence[str], reference: str) -> list[str]:
    """Return what `--set` takes for these seeds, and no others.

    Args:
        reference: by its name.
    """
    return [
        f"population.seeds={toml_value(list(seeds))}",
        f"population.reference={toml_value(reference)}",
        'population.from=""',
    ]
