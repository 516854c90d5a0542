"""`genesys-engine calibrate EXPERIMENT`: run-to-run training noise."""

from __future__ import annotations

from pathlib import Path

import click

from genesys_engine.engine.cli.output import json_option, note, print_json, print_table, set_option

ENOUGH_SEEDS = 5
"""With fewer seeds sigma is much wider than the deviation that it comes from."""


@click.command("calibrate")
@click.argument("experiment", type=click.Path(path_type=Path))
@click.option(
    "--seeds",
    type=click.IntRange(min=2),
    help="Training seeds per rung; by default as many as runs of EXPERIMENT need.",
)
@set_option
@json_option
def command(experiment: Path, seeds: int | None, sets: tuple[str, ...], as_json: bool) -> None:
    """Train the reference of EXPERIMENT with several seeds and show the noise at each rung.

    The results are cached: runs with the same text, rungs, trainer and evaluators, whatever their
    seed, reuse these trainings for `noise_seeds`. Cached trainings are not repeated.
    """
    from genesys_engine.engine.common.text import metric_title, number, plural, rough
    from genesys_engine.engine.run.assembly import load
    from genesys_engine.engine.run.calibration import calibrate
    from genesys_engine.engine.score.fitness import Measure
    from genesys_engine.engine.score.noise import widening

    setup = load(experiment, sets)
    loaded, found = setup.experiment, calibrate(setup, seeds, note)
    reference = loaded.population.reference
    if as_json:
        rungs = [rung.to_json() for rung in found]
        print_json({"reference": reference, "metric": loaded.fitness.metric, "rungs": rungs})
        return
    rows = [
        (rung.scale, name, rung.seeds, number(m.mean), rough(m.stdev), f"{rough(m.percent)} %")
        for rung in found
        for name, m in rung.metrics.items()
    ]
    columns = ("rung", "metric", "seeds", "mean", "deviation", "of the mean")
    print_table(columns, rows, title=f"Training noise, from {reference}")
    metric = metric_title(str(Measure.of(loaded.fitness.model_dump())))
    for rung in found:
        value = "unknown" if rung.fitness is None else f"{rough(rung.fitness)} %"
        note(f"sigma of the fitness at {rung.scale} ({metric}): {value}")
    note("differences within 2 sigma count as noise; a run measures sigma with its own noise_seeds")
    fewest = min(rung.seeds for rung in found)
    if fewest < ENOUGH_SEEDS:
        wider, enough = widening(fewest), widening(ENOUGH_SEEDS)
        note(
            f"{plural(fewest, 'seed')} are few: sigma is estimated as {wider:.1f} times their"
            f" deviation, with {ENOUGH_SEEDS} seeds as {enough:.1f} times; use more: --seeds"
            f" {ENOUGH_SEEDS}, and noise_seeds = {ENOUGH_SEEDS} in the experiment"
        )
