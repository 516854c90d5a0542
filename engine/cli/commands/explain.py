"""`genesys-engine explain RUN DESIGN`: what a design owes to each of its parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from genesys_engine.engine.cli.output import answer, json_option, note, print_json, print_table
from genesys_engine.engine.cli.run_folder import design_argument, run_argument

if TYPE_CHECKING:
    from genesys_engine.engine.run.explanation import Ablation
    from genesys_engine.engine.score.explanation import Explanation, Share


@click.command("explain")
@run_argument
@design_argument
@click.option("--base", help="Compare with this design; by default the seed it descends from.")
@click.option("--rung", help="Scale to train at; by default the design's largest.")
@click.option(
    "--seeds",
    type=click.IntRange(min=2),
    default=4,
    show_default=True,
    help="Fresh training seeds for each variant.",
)
@click.option("--yes", is_flag=True, help="Train; without it only the cost is shown.")
@json_option
def command(
    run: Path,
    design: str,
    base: str | None,
    rung: str | None,
    seeds: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Train DESIGN of RUN without each of its parts, and show what each part gives.

    DESIGN is a number or the name of a seed. Each change from the seed it descends from (or from
    --base) is put back alone. All variants are trained with the same fresh seeds, so that each
    difference is paired.

    Without --yes, the parts and the cost are listed and nothing is trained. After an interruption
    the same command continues; a higher --seeds repeats no training. Choose --seeds beforehand: who
    adds seeds until a part helps will find one that only seems to. The result is kept in RUN and
    shown in its report.
    """
    from genesys_engine.engine.run.explanation import ablation, explain
    from genesys_engine.engine.store.run_store import Store

    with Store.open(run, write=yes) as store:
        asked = ablation(store, design, base=base, scale=rung, seeds=seeds)
        if not yes:
            _show_plan(asked, as_json=as_json)
            return
        note(_cost(asked))
        try:
            found = explain(store, asked, note)
        except KeyboardInterrupt as interrupt:
            interrupt.add_note("trainings that ended are kept; the same command continues")
            raise
    if as_json:
        from genesys_engine.engine.common.records import to_json

        print_json(to_json(found))
    else:
        _show(found, asked.variants[0].change)


def _show_plan(asked: Ablation, *, as_json: bool) -> None:
    """Show what would be trained."""
    parts = asked.variants[2:]
    if as_json:
        listed = [
            {"path": part.path, "change": part.change, "problem": part.problem} for part in parts
        ]
        about = {"design": asked.design, "base": asked.base, "scale": asked.scale}
        cost = {"trainings": asked.trainings, "seconds": asked.seconds}
        print_json({**about, "seeds": asked.seeds, **cost, "parts": listed})
        return
    rows = [(part.path, part.change, part.problem) for part in parts]
    title = f"What tells {asked.variants[0].change} from {asked.base_name}"
    print_table(("place", "part", "not trained: no valid design without it"), rows, title=title)
    answer(f"{_cost(asked)}; train with --yes")


def _cost(asked: Ablation) -> str:
    from genesys_engine.engine.common.text import duration, plural

    return (
        f"at most {plural(asked.trainings, 'training')} at {asked.scale}, about"
        f" {duration(asked.seconds)} with {plural(asked.workers, 'worker')}, as long as the"
        " design's own training took in this run"
    )


def _show(found: Explanation, called: str) -> None:
    """Show what each part gives."""
    from genesys_engine.engine.common.text import decimal

    shares = (found.whole, *found.parts)
    rows = [
        (
            "all of it" if at == 0 else share.path,
            f"instead of {share.change}" if at == 0 else share.change,
            *_difference(share),
            "" if share.parameters is None else f"{share.parameters:,}",
            "" if share.device_s is None else decimal(share.device_s, 1),
        )
        for at, share in enumerate(shares)
    ]
    columns = ("place", "part", "gives", "95 % interval", "verdict", "parameters without", "s")
    title = f"What the parts of {called} give at {found.scale}, {found.seeds} fresh seeds"
    print_table(columns, rows, title=title)
    values = ", ".join(decimal(value, 4) for value in found.values)
    own = f"{found.parameters:,} parameters, {decimal(found.device_s or 0.0, 1)} s a training"
    answer(f"{called} itself: {values}; {own}")
    for share in shares:
        if share.problem:
            answer(f"{share.path}: {share.problem}")


def _difference(share: Share) -> tuple[str, str, str]:
    """Return what a part gives, the interval, and the verdict in a word or two."""
    from genesys_engine.engine.common.text import percent

    if share.gain is None:
        return "–", "", "not trained"
    low, high = share.gain.low, share.gain.high
    interval = "" if low is None or high is None else f"{percent(low)} to {percent(high)}"
    return percent(share.gain.mean), interval, share.verdict
