"""The five seeds next to each other: score, gain over gpt, sigma, and what may be reported.

    python experiments/bench/seeds_table.py RUN

Reads a finished or running run (such as one of experiments/ladder_cpu.toml) and prints a table
in Markdown: each seed at each rung where it was ranked, with the noise of training there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from genesys_engine.engine.common.text import number, percent, rough
from genesys_engine.engine.score.fitness import metric_value
from genesys_engine.engine.score.noise_floor import noise_floor
from genesys_engine.engine.score.standing import REFERENCE, standing
from genesys_engine.engine.store.names import design_names, scale_names
from genesys_engine.engine.store.run_store import Store


def rows(store: Store) -> Iterator[tuple[str, ...]]:
    """Yield (rung, seed, score, untrained, gain, sigma, verdict); a pair of scores per metric."""
    names, floor, scales = (
        design_names(store.designs()),
        noise_floor(store),
        scale_names(store),
    )
    ranked = [
        row
        for row in store.verifications()
        if row.design in names and row.replicate == 0 and row.fitness is not None
    ]
    for row in sorted(ranked, key=lambda row: (row.rung, -(row.fitness or 0.0))):
        sigma = floor.sigmas[row.rung]
        word = REFERENCE
        if row.design != floor.reference:
            word = standing(row.fitness or 0.0, sigma)
        scores = [
            metric_value(found, metric)
            for metric in metrics(store)
            for found in (row.scores, row.controls["untrained"])
        ]
        values = (*map(number, scores), percent(row.fitness), f"{rough(sigma)} %")
        yield scales[row.rung], names[row.design], *values, word


def metrics(store: Store) -> list[str]:
    """Return the metrics that the run's fitness is made of."""
    metric = store.meta("experiment")["fitness"]["metric"]
    return [metric] if isinstance(metric, str) else metric


def main() -> None:
    """Print the table."""
    if len(sys.argv) != 2:
        sys.exit(str(__doc__))
    with Store.open(Path(sys.argv[1])) as store:
        shown = [cell for metric in metrics(store) for cell in (metric, "untrained")]
        head = ("rung", "seed", *shown, "gain", "sigma", "verdict")
        for cells in (head, ("---",) * len(head), *rows(store)):
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
