"""The built-in sections of the report; each is of the type `page.Section`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genesys_engine.engine.config.template import tables_to_toml
from genesys_engine.engine.events import digest_events
from genesys_engine.engine.fitness import said
from genesys_engine.engine.report import charts
from genesys_engine.engine.report.highlight import python_html
from genesys_engine.engine.report.templates import render
from genesys_engine.engine.significance import SIGMAS
from genesys_engine.engine.store import Store
from genesys_engine.engine.views import noise
from genesys_engine.engine.views.details import composed_source, design_details
from genesys_engine.engine.views.failures import failures
from genesys_engine.engine.views.history import history
from genesys_engine.engine.views.leaderboard import (
    LeaderboardRow,
    best_child,
    leaderboard,
    metric_names,
    scale_names,
)
from genesys_engine.engine.views.lineage import lineage
from genesys_engine.engine.views.llm import llm_view
from genesys_engine.engine.views.names import design_names, label
from genesys_engine.engine.views.noise import noise_floor
from genesys_engine.engine.views.operators import operators
from genesys_engine.engine.views.run import view
from genesys_engine.engine.views.rungs import rung_agreements
from genesys_engine.engine.views.timing import timing

TABLE_ROWS = 50
HIGHLIGHTED = 3
FAINT_CURVES = 60


def reference_name(store: Store) -> str:
    """Return what the reference design is called."""
    return str(store.meta("experiment")["population"]["reference"])


def leading_child(store: Store, rows: Sequence[LeaderboardRow]) -> LeaderboardRow | None:
    """Return the row of the best child: as the verdict has it, which may follow the finals."""
    chosen = (store.meta("verdict") or {}).get("best_child")
    return next((row for row in rows if row.design == chosen), None) or best_child(rows)


def featured(store: Store, rows: Sequence[LeaderboardRow]) -> LeaderboardRow | None:
    """Return the row to show in full: the best child, or the best seed while there is none."""
    return leading_child(store, rows) or (rows[0] if rows else None)


def summary(store: Store) -> dict[str, Any]:
    """Return what the head of the page says: two sentences, a verdict and the key figures."""
    rows, run = leaderboard(store), view(store)
    spent = timing(store)
    return {
        "run": run,
        "rows": rows,
        "child": leading_child(store, rows),
        "reference": reference_name(store),
        "names": run.names,
        "label": label,
        "metric": said(store.meta("experiment")["fitness"]),
        "sigmas": SIGMAS,
        "wall_s": spent.wall_s or run.elapsed_s(),
        "tokens": spent.tokens,
        "verdict": (store.meta("verdict") or {}).get("verdict"),
        "confirmation": store.meta("confirmation"),
    }


def evolution_tree(store: Store) -> tuple[str, str]:
    """Who descends from whom, coloured by fitness."""
    tree, rows = lineage(store, charts.MOST_DESIGNS), leaderboard(store)
    best = featured(store, rows)
    sigmas = noise_floor(store).sigmas
    widest = max((row.fitness for row in rows), default=0.0)
    limit = max(SIGMAS * (sigmas[0] or 0.0), widest, 0.1)
    drawn = charts.tree_figure(
        tree,
        best=None if best is None else best.design,
        scales=scale_names(store),
        colour_limit=limit,
    )
    body = render(
        "tree", figure=drawn, limit=limit, reference=reference_name(store), left_out=tree.left_out
    )
    return "Evolution tree", body


def fitness(store: Store) -> tuple[str, str]:
    """The gain of every design, the best so far, and the noise."""
    rows = leaderboard(store)
    sigma = noise_floor(store).sigmas[0]
    by_design = {row.design: row for row in rows}
    points = history(store)
    drawn = charts.fitness_figure(
        points,
        by_design,
        reference=reference_name(store),
        scales=scale_names(store),
        sigma=sigma,
    )
    left_out = max(0, len(points) - charts.MOST_POINTS)
    values = {
        "left_out": left_out,
        "rows": rows,
        "sigma": sigma,
        "sigmas": SIGMAS,
        "scale": scale_names(store)[0],
    }
    body = render("fitness", figure=drawn, reference=reference_name(store), **values)
    return "Fitness", body


def leaderboard_table(store: Store) -> tuple[str, str]:
    """The best designs, each score beside its controls."""
    rows = leaderboard(store)
    shown = rows[:TABLE_ROWS]
    names = design_names(store.designs())
    values = {"metrics": metric_names(shown), "label": label, "names": names}
    body = render(
        "leaderboard", rows=shown, total=len(rows), reference=reference_name(store), **values
    )
    return "Leaderboard", body


def finals(store: Store) -> tuple[str, str]:
    """The best children, trained again with fresh seeds."""
    finalists = (store.meta("verdict") or {}).get("finalists", ())
    before = {row.design: row.fitness for row in leaderboard(store)}
    values = {"words": noise.SAID, "scale": scale_names(store)[-1]}
    reference = reference_name(store)
    body = render("finals", finalists=finalists, before=before, reference=reference, **values)
    return "Finals", body


def rungs(store: Store) -> tuple[str, str]:
    """Whether the lower rungs foretell the upper ones."""
    return "Rank correlation between rungs", render("rungs", agreements=rung_agreements(store))


def best_design(store: Store) -> tuple[str, str]:
    """The best child: how it came about, its tree and its code."""
    row = featured(store, leaderboard(store))
    if row is None:
        return "Best design", '<p class="note">No design has been verified yet.</p>'
    details = design_details(store, row.design)
    steps = [*details.ancestors, details.row]
    code = python_html(composed_source(store, row.design))
    names = design_names(steps)
    body = render("best", details=details, steps=steps, code=code, label=label, names=names)
    return "Best design", body


def operators_table(store: Store) -> tuple[str, str]:
    """What the children of each operator gained over their parents."""
    body = render("operators", rows=operators(store), scale=scale_names(store)[0])
    return "Operators", body


def loss_curves(store: Store) -> tuple[str, str]:
    """Training loss per rung: the best designs and the reference in colour, others faint."""
    rows = leaderboard(store)
    names = design_names(store.designs())
    wanted = [row.design for row in rows[:HIGHLIGHTED]]
    if (reference := noise_floor(store).reference) is not None and reference not in wanted:
        wanted.append(reference)
    ids: dict[int, dict[int, int]] = {}
    for row in store.verifications():
        ids.setdefault(row.rung, {}).setdefault(row.design, row.id)
    drawn = []
    for rung, scale in enumerate(scale_names(store)):
        here = ids.get(rung, {})
        bold = {label(d, names): store.curves.read(here[d]) for d in wanted if d in here}
        rest = [i for design, i in here.items() if design not in wanted]
        faint = [store.curves.read(i) for i in rest[:: max(1, -(-len(rest) // FAINT_CURVES))]]
        if any(bold.values()) or any(faint):
            drawn.append(charts.curves_figure(scale, bold, [curve for curve in faint if curve]))
    return "Loss curves", render("curves", figures=drawn)


def quadrants(store: Store) -> tuple[str, str]:
    """Fitness against confidence, as the quadrant selection sees it."""
    rows = leaderboard(store)
    reference, scales = reference_name(store), scale_names(store)
    drawn = charts.quadrant_figure(rows, reference=reference, scales=scales) if rows else ""
    left_out = max(0, len(rows) - charts.MOST_POINTS)
    return "Fitness and confidence", render("quadrants", figure=drawn, left_out=left_out)


def failures_by_cause(store: Store) -> tuple[str, str]:
    """What was rejected, failed or dropped, and why."""
    return "Failures by cause", render("failures", failures=failures(store))


def language_models(store: Store) -> tuple[str, str]:
    """What language models were used for, and what it cost."""
    found = llm_view(store)
    shown = {"roles": found.roles, "models": found.models, "total": found.total}
    return "Language models", render("llm", abandoned=found.abandoned, **shown)


def time_by_stage(store: Store) -> tuple[str, str]:
    """Where the workers' time went."""
    return "Time by stage", render("time", timing=timing(store))


def reproduce(store: Store) -> tuple[str, str]:
    """What it takes to get the same log again, and the digest to compare it with."""
    experiment = store.meta("experiment")
    body = render(
        "reproduce",
        seed=experiment["run"]["seed"],
        toml=tables_to_toml(experiment),
        digests={
            "experiment": store.meta("experiment_digest"),
            "events": digest_events(store.events()),
        },
        corpus=store.meta("corpus", {}),
        versions=store.meta("versions", {}),
        machine=store.meta("machine", {}),
        isolation=_isolation(store.meta("sandbox", None) or {}),
    )
    return "How to reproduce", body


def _isolation(sandbox: Mapping[str, Any]) -> str:
    """Return the level of a run's jobs, and whether trainings had the compile profile."""
    level = str(sandbox.get("level", "not recorded"))
    opened = "; the compile profile is open to trainings" if sandbox.get("compiles") else ""
    return f"{level}{opened}"
