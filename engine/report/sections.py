"""The built-in sections of the report; each is of the type `page.Section`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from itertools import groupby
from typing import Any

from genesys_engine.engine.common.text import metric_title, plural
from genesys_engine.engine.common.toml_text import tables_to_toml
from genesys_engine.engine.report import charts
from genesys_engine.engine.report.cost_chart import cost_figure
from genesys_engine.engine.report.highlight import python_html
from genesys_engine.engine.report.templates import render
from genesys_engine.engine.score.fitness import Measure
from genesys_engine.engine.score.noise_floor import noise_floor
from genesys_engine.engine.score.significance import SIGMAS
from genesys_engine.engine.store.events import digest_events
from genesys_engine.engine.store.names import design_names, label, scale_names
from genesys_engine.engine.store.node_events import NODES
from genesys_engine.engine.store.run_store import DesignRow, Store
from genesys_engine.engine.views.details import composed_source, design_details
from genesys_engine.engine.views.explanations import explanations
from genesys_engine.engine.views.failures import failures
from genesys_engine.engine.views.finals import finals_view
from genesys_engine.engine.views.history import history
from genesys_engine.engine.views.leaderboard import LeaderboardRow, leaderboard, metric_names
from genesys_engine.engine.views.lineage import ancestry, lineage
from genesys_engine.engine.views.llm import llm_view
from genesys_engine.engine.views.operators import operators
from genesys_engine.engine.views.reading import once
from genesys_engine.engine.views.remarks import all_behind_control, unresolved
from genesys_engine.engine.views.run import RunView, view
from genesys_engine.engine.views.rungs import rung_agreements
from genesys_engine.engine.views.timing import elapsed_s, timing
from genesys_engine.engine.views.verdict import VerdictView, verdict_view
from genesys_engine.gab.tree import GABTree

TABLE_ROWS = 50
HIGHLIGHTED = 3
DETAILED, MOST_STEPS = 20, 12
FAINT_CURVES = 60


def reference_name(store: Store) -> str:
    """Return what the reference design is called."""
    return str(store.meta("experiment")["population"]["reference"])


def featured(store: Store, rows: Sequence[LeaderboardRow]) -> LeaderboardRow | None:
    """Return the row to show in full: the best child, or the best seed while there is none."""
    return once(store, verdict_view).child or (rows[0] if rows else None)


@dataclass(frozen=True)
class Summary:
    """What the head of the page says: the verdict, how it came about, the key figures.

    `audit` is what the audit of the winner found, "" before there is one.
    """

    run: RunView
    leader: LeaderboardRow | None
    view: VerdictView
    reference: str
    metric: str
    wall_s: float
    tokens: int
    audit: str


def summary(store: Store) -> Summary:
    """Return what the head of the page says."""
    rows, run = once(store, leaderboard), view(store)
    return Summary(
        run=run,
        leader=rows[0] if rows else None,
        view=once(store, verdict_view),
        reference=reference_name(store),
        metric=metric_title(str(Measure.of(store.meta("experiment")["fitness"]))),
        wall_s=elapsed_s(store, run),
        tokens=once(store, timing).tokens,
        audit=(store.meta("confirmation") or {}).get("text", ""),
    )


def evolution_tree(store: Store) -> tuple[str, str]:
    """Who descends from whom, coloured by fitness."""
    tree, rows = lineage(store, charts.MOST_DESIGNS), once(store, leaderboard)
    if not tree.nodes:
        return "Evolution tree", ""
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
    rows = once(store, leaderboard)
    if not rows:
        return "Fitness", ""
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
    """The best designs, a table for each rung, each score next to its controls and its cost."""
    rows = once(store, leaderboard)
    shown = rows[:TABLE_ROWS]
    values = {
        "metrics": metric_names(shown),
        "label": label,
        "names": design_names(store.designs()),
        "links": _links(rows, featured(store, rows)),
    }
    groups = [(rung, list(part)) for rung, part in groupby(shown, lambda row: row.rung)]
    highest = groups[0][1] if groups else []
    remarks = [*all_behind_control(highest), *unresolved(highest)]
    body = render(
        "leaderboard",
        groups=groups,
        total=len(rows),
        shown=len(shown),
        remarks=remarks,
        reference=reference_name(store),
        **values,
    )
    return "Leaderboard", body


def _links(rows: Sequence[LeaderboardRow], best: LeaderboardRow | None) -> dict[int, str]:
    """Return design -> the anchor of what the page says of it, for those that it says more of."""
    links = {row.design: f"design-{row.design}" for row in rows[:DETAILED]}
    return links | ({} if best is None else {best.design: "best-design"})


def cost(store: Store) -> tuple[str, str]:
    """What gains cost: at each rung gain against FLOPs per token, parameters and seconds."""
    rows = [row for row in once(store, leaderboard) if row.cost.flops is not None]
    if not rows:
        return "Gain and cost", ""
    reference = reference_name(store)
    drawn = cost_figure(rows, reference=reference, scales=scale_names(store))
    return "Gain and cost", render("cost", figure=drawn, reference=reference)


def finals(store: Store) -> tuple[str, str]:
    """The race of the finals: who entered, who dropped out when, and with what gains."""
    found = finals_view(store)
    if found is None:
        return "Finals", ""
    before = {row.design: row.fitness for row in once(store, leaderboard)}
    return "Finals", render("finals", found=found, before=before)


def parts(store: Store) -> tuple[str, str]:
    """What the parts of the designs give that `explain` has trained without each of them."""
    names = design_names(store.designs())
    found = [(label(each.design, names), each) for each in explanations(store)]
    return "What each part gives", render("parts", found=found) if found else ""


def rungs(store: Store) -> tuple[str, str]:
    """Whether the lower rungs foretell the upper ones."""
    agreements = rung_agreements(store)
    body = render("rungs", agreements=agreements) if agreements else ""
    return "Rank correlation between rungs", body


def best_design(store: Store) -> tuple[str, str]:
    """The best child: how it came about, its tree and its code."""
    row = featured(store, once(store, leaderboard))
    if row is None:
        return "Best design", ""
    details = design_details(store, row.design)
    steps = [*details.ancestors, details.row]
    code = python_html(composed_source(store, row.design))
    names = design_names(steps)
    body = render("best", details=details, steps=steps, code=code, names=names)
    return "Best design", body


def other_designs(store: Store) -> tuple[str, str]:
    """The best of the other designs: how they came about, what they changed, their trees."""
    rows = once(store, leaderboard)
    best = featured(store, rows)
    shown = [row for row in rows[: DETAILED + 1] if best is None or row.design != best.design]
    if not shown:
        return "Other designs", ""
    names = design_names(store.designs())
    designs = [_in_detail(store, row) for row in shown[:DETAILED]]
    body = render("designs", designs=designs, names=names)
    return "Other designs", body


def _in_detail(
    store: Store, row: LeaderboardRow
) -> tuple[LeaderboardRow, list[DesignRow], int, str, list[str]]:
    """Return a row, the last steps that led to it, the number of those before, its tree, and what
    it changed in its parent's."""
    line = ancestry(store, row.design)
    tree = _tree(store, row.design)
    before = _tree(store, row.parents[0]) if row.parents else tree
    # The first two lines of a difference name files.
    changes = list(unified_diff(before.splitlines(), tree.splitlines(), lineterm="", n=1))[2:]
    changes = [each for each in changes if not each.startswith("@@")]
    return row, line[-MOST_STEPS:], max(0, len(line) - MOST_STEPS), tree, changes


def _tree(store: Store, design: int) -> str:
    return GABTree.from_json(store.tree(design)).describe()


def operators_table(store: Store) -> tuple[str, str]:
    """What the children of each operator gained over their parents."""
    rows = operators(store)
    body = render("operators", rows=rows, scale=scale_names(store)[0]) if rows else ""
    return "Operators", body


def loss_curves(store: Store) -> tuple[str, str]:
    """Training loss per rung: the best designs and the reference in colour, others faint."""
    rows = once(store, leaderboard)
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
    return "Loss curves", render("curves", figures=drawn) if drawn else ""


def quadrants(store: Store) -> tuple[str, str]:
    """Fitness against confidence, as the quadrant selection sees it."""
    rows = once(store, leaderboard)
    reference, scales = reference_name(store), scale_names(store)
    if not rows:
        return "Fitness and confidence", ""
    drawn = charts.quadrant_figure(rows, reference=reference, scales=scales)
    left_out = max(0, len(rows) - charts.MOST_POINTS)
    return "Fitness and confidence", render("quadrants", figure=drawn, left_out=left_out)


def failures_by_cause(store: Store) -> tuple[str, str]:
    """What was rejected, failed or dropped, and why."""
    found = failures(store)
    return "Failures by cause", render("failures", failures=found) if found else ""


def language_models(store: Store) -> tuple[str, str]:
    """What language models were used for, and what it cost."""
    found = llm_view(store)
    if not found.roles and not found.abandoned:
        return "Language models", ""
    shown = {"roles": found.roles, "models": found.models, "total": found.total}
    return "Language models", render("llm", abandoned=found.abandoned, **shown)


def time_by_stage(store: Store) -> tuple[str, str]:
    """Where the workers' time went."""
    found = once(store, timing)
    return "Time by stage", render("time", timing=found) if found.work_s else ""


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
    """Return the level of a run's jobs, or those of its nodes, and whether trainings had the
    compile profile."""
    level = str(sandbox.get("level", "not recorded"))
    if nodes := sandbox.get(NODES):
        level = f"{', '.join(sorted(set(nodes.values())))} on {plural(len(nodes), 'node')}"
    opened = "; the compile profile is open to trainings" if sandbox.get("compiles") else ""
    return f"{level}{opened}"
