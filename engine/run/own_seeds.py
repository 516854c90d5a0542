"""The seeds that a run was given and that are not of the library, kept in its folder.

What they were read from may change or go; a run that is resumed reads its own copies, each a tree
in JSON with its name.  They may also be used as they lie, as seeds of another experiment.
"""

from __future__ import annotations

import json

from genesys_engine.engine.config.kept import is_place, seed_sets
from genesys_engine.engine.config.schema import PopulationSection
from genesys_engine.engine.config.seeds import kept_seed
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.private import private_file, private_folder

SEEDS = "seeds"  # folder of a run


def keep_seeds(store: Store, population: PopulationSection) -> None:
    """Write the own seeds of a run into its folder."""
    if not population.own:
        return
    folder = store.folder / SEEDS
    private_folder(folder)
    for number, name in enumerate(population.seeds):
        if (own := population.own.get(name)) is not None:
            text = json.dumps(kept_seed(name, own), indent=1)
            private_file(folder / _file(number)).write_text(text, encoding="utf-8")


def kept_seeds(store: Store) -> list[str]:
    """Return what `--set` takes so that a run is read with its own copies of its seeds."""
    population = store.meta("experiment").get("population", {})
    seeds = list(population.get("seeds", ()))
    if not any(map(is_place, seeds)):
        return []
    for number, seed in enumerate(seeds):
        copy = (store.folder / SEEDS / _file(number)).absolute()
        if is_place(seed) and copy.exists():
            seeds[number] = str(copy)
    return seed_sets(seeds, population["reference"])


def _file(number: int) -> str:
    return f"{number}.json"
