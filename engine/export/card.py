"""The model card: what the model is, where it comes from, what it cost, how it did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genesys_engine.engine.common import text
from genesys_engine.engine.common.options import TomlTable
from genesys_engine.engine.export.checkpoints import Weights
from genesys_engine.engine.jobs.design_report import Fit
from genesys_engine.engine.jobs.scores import value_of
from genesys_engine.engine.score.noise_floor import noise_floor
from genesys_engine.engine.score.standing import NOT_MEASURED, outcome
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.details import design_details
from genesys_engine.engine.views.remarks import behind_control, more_compute
from genesys_engine.engine.views.verdict import verdict_view
from genesys_engine.gab.scales import get_scale

HERE = Path(__file__).parent


def model_card(
    store: Store,
    weights: Weights,
    fit: Fit,
    parameters: int,
    tasks: Sequence[str],
) -> str:
    """Return the card as Markdown with the head that model hubs read."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        percent=text.percent,
        number=text.number,
        rough=text.rough,
        title=text.metric_title,
        cell=_cell,
    )
    experiment, row = store.meta("experiment"), weights.row
    details, found = design_details(store, row.design), verdict_view(store)
    best = found.verdict.best_child == row.design
    return environment.get_template("card.md.j2").render(
        run=store.meta("name"),
        value_of=value_of,
        details=details,
        steps=[*details.ancestors, details.row],
        row=row,
        scale=weights.scale,
        fit=fit,
        parameters=parameters,
        **_schedule(experiment, row.rung),
        seed=experiment["run"]["seed"],
        reference=experiment["population"]["reference"],
        sigma=noise_floor(store).sigmas[row.rung],
        verdict=[line for line in (found.every_seed, *found.judged) if line] if best else [],
        standing=outcome(details.standing or NOT_MEASURED, details.reference),
        remarks=[
            *behind_control(row.scores, row.controls),
            *(
                remark
                for cost in details.costs
                if cost.rung == weights.scale
                for remark in more_compute(cost, details.reference)
            ),
        ],
        corpus=store.meta("corpus"),
        digest=store.meta("experiment_digest"),
        versions=store.meta("versions", {}),
        tasks=tasks,
        limit=_limit(experiment["evaluators"]),
    )


def _schedule(experiment: TomlTable, rung: int) -> dict[str, int | str]:
    """Return batch and peak rates of a rung: as the experiment says, or as the scale asks."""
    given = experiment["ladder"]["rungs"][rung]
    scale, trainer = get_scale(given["scale"]), experiment["trainer"]
    peak = given.get("peak_lr") or scale.peak_lr
    rates = f"{trainer.get('peak_lr') or peak:g}"
    if trainer.get("optimizer") == "muon":
        matrices, tables, vectors = (
            f"{trainer[name] * peak / scale.peak_lr:g}"
            for name in ("matrix_lr", "table_lr", "vector_lr")
        )
        rates = f"Muon {matrices} (matrices), AdamW {tables} (embedding) and {vectors} (vectors)"
    return {"batch_tokens": given.get("batch_tokens") or scale.batch_tokens, "peak_rates": rates}


def _limit(evaluators: Sequence[TomlTable]) -> int | None:
    """Return how many items of each task the scores rest on; None: all."""
    limits = [entry.get("limit") for entry in evaluators if entry["use"] == "lm_eval"]
    return limits[0] if limits else None


def _cell(value: object) -> str:
    """Return text that can stand in one cell of a table."""
    return " ".join(str(value).split()).replace("|", "\\|")
